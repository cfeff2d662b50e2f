#!/usr/bin/env bash
# load.sh: runs `make load`. Sends locustfile.py's load to URL, or to a service that it starts; writes an HTML report.
FARMLOKAL_TARGET=load
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

[ -n "${URL:-}" ] || exec dev/bench/run.sh load "${ROWS:-100000}"
dev/install.sh requirements-dev.txt
exec "$PYTHON" -m dev.load.runs "$URL" "${USERS:-50}" "${SECONDS_OF_LOAD:-30}"
