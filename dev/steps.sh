# shellcheck shell=bash disable=SC2034  # the scripts that source this use PYTHON
# Shared by all scripts: paths, messages, and how a step fails. Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PROJECT=$PWD
PYTHON=$PROJECT/.venv/bin/python
TARGET=${FARMLOKAL_TARGET:-dev}  # the make target, named in each message
LOGS=$PROJECT/.local/log
mkdir -p "$LOGS"

say() { printf '%s\n' "make $TARGET: $*" >&2; }
fail() { say "$*"; exit 1; }

# with_services DIRECTORY COMMAND...: replaces this script by services.sh, which ends with make, even after SIGKILL.
# SIGINT is reset because a shell started in the background ignores it, and could not trap it.
with_services() { exec setpriv --pdeathsig TERM env --default-signal=INT dev/services.sh "$@"; }

# step NAME COMMAND...: runs COMMAND with its output in a log; on failure prints one line with the step and the log.
step() {
    local name=$1 log="$LOGS/$TARGET-${1// /-}.log"
    shift
    "$@" >"$log" 2>&1 </dev/null || fail "step \"$name\" failed, see ${log#"$PROJECT"/}"
}
