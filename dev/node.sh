#!/usr/bin/env bash
# node.sh FOLDER: copies FOLDER to .local/node/FOLDER and installs the npm packages of its lock file there.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

for tool in node npm; do
    command -v "$tool" >/dev/null || fail "needs Node 20 or newer with npm: apt-get install nodejs npm"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "needs Node 20 or newer; this is $(node --version)"

FOLDER=$1
INSTALLED=$PROJECT/.local/node/$FOLDER
mkdir -p "$INSTALLED"
cp -r "$FOLDER/." "$INSTALLED"
if ! cmp -s "$FOLDER/package-lock.json" "$INSTALLED/.installed"; then
    say "installing the packages of $FOLDER into .local/node"
    step "npm ci" npm ci --prefix "$INSTALLED" --prefer-offline --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$FOLDER/package-lock.json" "$INSTALLED/.installed"
fi
