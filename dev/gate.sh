#!/usr/bin/env bash
# gate.sh [PYTEST_ARGUMENT...]: the checks and tests of `make test`. Needs DATABASE_URL and REDIS_URL.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

PATH=$PROJECT/.venv/bin:$PATH
# Production settings, for `check --deploy`.
export DJANGO_SETTINGS_MODULE=farmlokal.settings DEBUG=off TRUSTED_PROXY_HOPS=1 ALLOWED_HOSTS=farmlokal.example
SECRET_KEY=$("$PYTHON" -c 'import secrets; print(secrets.token_urlsafe(60))')
export SECRET_KEY

check() { # check NAME COMMAND...: prints the command's output only if it fails
    local name=$1 log="$LOGS/test-${1// /-}.log"
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log"
        fail "step \"$name\" failed, see ${log#"$PROJECT"/}"
    fi
    printf 'ok  %s\n' "$name"
}

check "ruff check" ruff check .
check "ruff format" ruff format --check .
check "mypy" mypy .
check "import-linter" lint-imports
check "deptry" deptry .
check "pip check" "$PYTHON" -m pip check
check "deployment" "$PYTHON" manage.py check --deploy --fail-level WARNING
check "migrations" "$PYTHON" manage.py makemigrations --check --dry-run
check "online migrations" "$PYTHON" -m dev.upgrades
check "openapi" "$PYTHON" manage.py spectacular --validate --fail-on-warn --file /dev/null
check "gunicorn config" gunicorn --check-config

# The tests expect the defaults of a machine without a proxy.
unset TRUSTED_PROXY_HOPS DEBUG
exec pytest "$@"
