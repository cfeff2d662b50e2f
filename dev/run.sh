#!/usr/bin/env bash
# run.sh: what `make run` does. Installs what is missing, then serves with private servers around it.
FARMLOKAL_TARGET=run
export FARMLOKAL_TARGET
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements.txt
with_services .local/run dev/serve.sh
