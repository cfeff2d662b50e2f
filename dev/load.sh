#!/usr/bin/env bash
# load.sh: runs `make load`. Sends locustfile.py's load to URL, or to a service that it starts; writes an HTML report.
FARMLOKAL_TARGET=load
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

REPORT=$PROJECT/.local/load.html
dev/install.sh requirements-dev.txt

locust() {
    .venv/bin/locust --headless --host "$1" --users "${USERS:-50}" --spawn-rate 25 --run-time "${SECONDS_OF_LOAD:-30}s" \
        --html "$REPORT" --only-summary --loglevel WARNING && say "report: $REPORT"
}

if [ -n "${URL:-}" ]; then
    locust "$URL"
    exit
fi
if [ -z "${LOAD_SERVED:-}" ]; then
    unset DATABASE_URL REDIS_URL  # the catalogue is replaced below: always use private servers
    export LOAD_SERVED=1 MARIADB_OPTIONS=${MARIADB_OPTIONS:---innodb-buffer-pool-size=1G}
    with_services .local/bench dev/load.sh
fi

export SECRET_KEY=only-for-make-load-and-not-for-any-production-service ALLOWED_HOSTS=127.0.0.1 ACCESS_LOG=off RATE_LIMIT_ANONYMOUS=off PORT=${PORT:-8090}
step migrate "$PYTHON" manage.py migrate --noinput
"$PYTHON" manage.py seed_products "${ROWS:-100000}" --reset
setpriv --pdeathsig TERM .venv/bin/gunicorn --bind "127.0.0.1:$PORT" >"$LOGS/load-gunicorn.log" 2>&1 &
SERVICE=$!
trap 'kill $SERVICE' EXIT
for _ in $(seq 100); do
    "$PYTHON" -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=1)" "http://127.0.0.1:$PORT/readyz" 2>/dev/null && break
    sleep 0.1
done
locust "http://127.0.0.1:$PORT"
