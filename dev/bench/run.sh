#!/usr/bin/env bash
# run.sh NAME [NUMBER...]: runs dev/bench/NAME.py with a private MariaDB and Redis.
FARMLOKAL_TARGET=${FARMLOKAL_TARGET:-bench-$1}
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/../steps.sh"

unset DATABASE_URL REDIS_URL  # benchmarks replace the catalogue: always use private servers
export MARIADB_OPTIONS=${MARIADB_OPTIONS:---innodb-buffer-pool-size=2G}
dev/install.sh requirements-dev.txt
export SECRET_KEY=only-for-benchmarks-and-not-for-any-production-service ALLOWED_HOSTS=testserver ACCESS_LOG=off DJANGO_SETTINGS_MODULE=farmlokal.settings PYTHONPATH=$PROJECT
with_services .local/bench "$PYTHON" -m dev.bench "$@"
