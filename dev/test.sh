#!/usr/bin/env bash
# test.sh [PYTEST_ARGUMENT...]: runs `make test`: all static checks, then pytest, with a private MariaDB and Redis.
FARMLOKAL_TARGET="test"
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements-dev.txt
with_services .local/test dev/gate.sh "$@"
