#!/usr/bin/env bash
# run.sh: what `make run` does. Installs what is missing, then serves with private servers around it.
FARMLOKAL_TARGET=run
export FARMLOKAL_TARGET
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

dev/install.sh requirements.txt
# It ends with make, even after a kill -9. And started in the background of a script, a shell is given an ignored
# SIGINT, which it could not trap.
exec setpriv --pdeathsig TERM env --default-signal=INT dev/services.sh .local/run dev/serve.sh
