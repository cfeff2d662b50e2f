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

# step NAME COMMAND...: runs it with its output in a log; a failure is one line that names both.
step() {
    local name=$1 log="$LOGS/$TARGET-${1// /-}.log"
    shift
    "$@" >"$log" 2>&1 </dev/null || fail "step \"$name\" failed, see ${log#"$PROJECT"/}"
}
