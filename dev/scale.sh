#!/usr/bin/env bash
# scale.sh [PYTEST_ARGUMENT...]: runs `make test-scale`: pytest with several servers of MySQL and Redis.
FARMLOKAL_TARGET=test-scale
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements-dev.txt
PATH=$PROJECT/.venv/bin:$PATH
SECRET_KEY=$("$PYTHON" -c 'import secrets; print(secrets.token_urlsafe(60))')
export SECRET_KEY ALLOWED_HOSTS=farmlokal.example
exec setpriv --pdeathsig TERM env --default-signal=INT "$PYTHON" -m dev.scale "$@"
