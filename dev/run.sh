#!/usr/bin/env bash
# run.sh: runs `make run`. Installs missing packages, then serves with a private MariaDB and Redis.
FARMLOKAL_TARGET=run
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements.txt
[ -t 0 ] || with_services .local/run dev/serve.sh
# In a terminal, services.sh gets a process group of its own: Ctrl-C reaches it, but not make, which would call it an error.
set -m
INTERRUPT_STATUS=0 setpriv --pdeathsig TERM dev/services.sh .local/run dev/serve.sh
