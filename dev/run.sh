#!/usr/bin/env bash
# run.sh: runs `make run`. Installs missing packages, then serves with a private MariaDB and Redis.
FARMLOKAL_TARGET=run
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements.txt
with_services .local/run dev/serve.sh
