#!/usr/bin/env bash
# pictures.sh: runs `make pictures` beside a `make run`.
FARMLOKAL_TARGET=pictures
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

if [ ! -f .local/run/env ] || flock --nonblock .local/run/lock true; then
    fail "needs a make run in another terminal"
fi
dev/install.sh requirements-dev.txt
# shellcheck source=/dev/null
. .local/run/env
DJANGO_SETTINGS_MODULE=farmlokal.settings exec "$PYTHON" -m dev.docs.pictures
