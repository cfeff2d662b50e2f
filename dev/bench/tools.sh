#!/usr/bin/env bash
# tools.sh: checks for wrk, and installs the Node peers of the comparisons.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/../steps.sh"

command -v wrk >/dev/null || fail "needs wrk, and Node 20 or newer with npm: apt-get install wrk nodejs npm"
dev/node.sh dev/bench/peers
