# shellcheck shell=bash disable=SC2034  # PYTHON is for those that source this
# What every script here shares: where things are, and how a step fails. Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PROJECT=$PWD
PYTHON=$PROJECT/.venv/bin/python
TARGET=${FARMLOKAL_TARGET:-dev}   # the make target that people typed, named in every message
LOGS=$PROJECT/.local/log
mkdir -p "$LOGS"

say() { printf '%s\n' "make $TARGET: $*" >&2; }
fail() { say "$*"; exit 1; }

# with_services DIRECTORY COMMAND...: the last thing that a make target does. It ends with make, even after a kill -9.
# And started in the background of a script, a shell is given an ignored SIGINT, which it could not trap.
with_services() { exec setpriv --pdeathsig TERM env --default-signal=INT dev/services.sh "$@"; }

# step NAME COMMAND...: runs it with its output in a log; a failure is one line that names both.
step() {
    local name=$1 log="$LOGS/$TARGET-${1// /-}.log"
    shift
    "$@" >"$log" 2>&1 </dev/null || fail "step \"$name\" failed, see ${log#"$PROJECT"/}"
}
