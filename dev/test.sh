#!/usr/bin/env bash
# test.sh [PYTEST_ARGUMENT...]: what `make test` and CI do. Every check of the gate, then pytest, whose last line is the last line.
FARMLOKAL_TARGET="test"
export FARMLOKAL_TARGET
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements-dev.txt
exec setpriv --pdeathsig TERM env --default-signal=INT dev/services.sh .local/test dev/gate.sh "$@"
