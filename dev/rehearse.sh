#!/usr/bin/env bash
# rehearse.sh: runs `make rehearse`: a deployment as on Render, in a Debian chroot, with a private MariaDB and Redis.
FARMLOKAL_TARGET=rehearse
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

[ "$(id -u)" = 0 ] || fail "needs root, for chroot and mounts"
unset DATABASE_URL REDIS_URL  # the catalogue is migrated and filled: always use private servers
dev/install.sh requirements-dev.txt
# The servers' helpers read the settings of this project; the service itself gets those of render.yaml.
with_services .local/rehearsal-services "$PYTHON" -m dev.rehearsal
