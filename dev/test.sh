#!/usr/bin/env bash
# test.sh [PYTEST_ARGUMENT...]: what `make test` and CI do. Every check of the gate, then pytest, whose last line is the last line.
FARMLOKAL_TARGET="test"
export FARMLOKAL_TARGET
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements-dev.txt
with_services .local/test dev/gate.sh "$@"
