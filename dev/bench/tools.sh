#!/usr/bin/env bash
# tools.sh: that what `make bench` measures with and against is there. Node's packages go to .local/peers.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/../steps.sh"

for tool in wrk node npm; do
    command -v "$tool" >/dev/null || fail "needs wrk, and Node 20 or newer with npm: apt-get install wrk nodejs npm"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "needs Node 20 or newer, and this is $(node --version)"

PEERS=$PROJECT/.local/peers
mkdir -p "$PEERS"
if ! cmp -s dev/bench/peers/package-lock.json "$PEERS/.installed"; then
    say "installing the packages of dev/bench/peers into .local/peers"
    cp dev/bench/peers/package.json dev/bench/peers/package-lock.json "$PEERS"
    step "npm ci" npm ci --prefix "$PEERS" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
    cp dev/bench/peers/package-lock.json "$PEERS/.installed"
fi
