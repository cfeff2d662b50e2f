# shellcheck shell=bash disable=SC2034  # the scripts that source this use PYTHON
# Shared by all scripts: paths, messages, and how a step fails. Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PROJECT=$PWD
PYTHON=$PROJECT/.venv/bin/python
TARGET=${FARMLOKAL_TARGET:-dev}  # the make target, named in each message
LOGS=$PROJECT/.local/log
mkdir -p "$LOGS"
PROGRESS_SECONDS=5

say() { printf '%s\n' "make $TARGET: $*" >&2; }
fail() { say "$*"; exit 1; }

# with_services DIRECTORY COMMAND...: replaces this script by services.sh, which ends with make, even after SIGKILL.
# SIGINT is reset because a shell started in the background ignores it, and could not trap it.
with_services() { exec setpriv --pdeathsig TERM env --default-signal=INT dev/services.sh "$@"; }

# step NAME COMMAND...: runs COMMAND with its output in a log, and prints the log's last line every few seconds.
# On failure prints one line with the step and the log.
step() {
    local name=$1 log="$LOGS/$TARGET-${1// /-}.log" progress status=0
    shift
    : >"$log"
    report_progress "$name" "$log" &
    progress=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$progress" 2>/dev/null || true
    wait "$progress" 2>/dev/null || true
    [ "$status" = 0 ] || fail "step \"$name\" failed, see ${log#"$PROJECT"/}"
}

report_progress() {
    local seconds=0
    trap 'exit' TERM
    # A sleep that outlives this must not hold the terminal or a pipe open.
    while sleep "$PROGRESS_SECONDS" >/dev/null 2>&1 & wait $! && kill -0 $$ 2>/dev/null; do
        seconds=$((seconds + PROGRESS_SECONDS))
        say "$1, $seconds s: $(tail -n 1 "$2" | cut -c 1-100)"
    done
}
