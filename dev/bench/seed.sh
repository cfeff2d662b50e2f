#!/usr/bin/env bash
# seed.sh ROWS: what `make bench-seed` does, with a MariaDB of its own.
FARMLOKAL_TARGET=bench-seed
export FARMLOKAL_TARGET
# shellcheck source=../steps.sh
. "$(dirname "$0")/../steps.sh"

dev/install.sh requirements-dev.txt
export SECRET_KEY=benchmark ALLOWED_HOSTS=localhost DJANGO_SETTINGS_MODULE=farmlokal.settings PYTHONPATH=$PROJECT
exec env --default-signal=INT dev/services.sh .local/bench "$PYTHON" dev/bench/seed.py "$1"
