#!/usr/bin/env bash
# pictures.sh: runs `make pictures` beside a `make run`. Installs Debian's chromium and Playwright if they are missing.
FARMLOKAL_TARGET=pictures
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

if [ ! -f .local/run/env ] || flock --nonblock .local/run/lock true; then
    fail "needs a make run in another terminal"
fi
dev/install.sh requirements-dev.txt
command -v chromium >/dev/null || step "install chromium" apt-get install -y --no-install-recommends chromium
[ -x .local/pictures/bin/python ] || step "make venv" "$PYTHON" -m venv --system-site-packages .local/pictures
step "install Playwright" .local/pictures/bin/python -m pip install --disable-pip-version-check playwright==1.65.2
# shellcheck source=/dev/null
. .local/run/env
site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
DJANGO_SETTINGS_MODULE=farmlokal.settings PYTHONPATH=$PROJECT:$site exec .local/pictures/bin/python -m dev.docs.pictures
