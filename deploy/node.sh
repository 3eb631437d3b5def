#!/usr/bin/env bash
# Prints a directory whose node_modules has the packages of tests/node/package-lock.json.
# It is made once per version of that file, outside the source tree.
set -euo pipefail

source="$(cd "$(dirname "$0")/.." && pwd)/tests/node"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/trefoil"
modules="$cache/node-$(sha256sum "$source/package-lock.json" | cut -c1-12)"

mkdir -p "$cache"
exec 9>"$cache/node.lock"
flock 9
if [ ! -e "$modules/complete" ]; then
    rm -rf "$modules"
    echo "node: making $modules" >&2
    mkdir "$modules"
    cp "$source/package.json" "$source/package-lock.json" "$modules"
    npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund --loglevel error >&2
    touch "$modules/complete"
fi
echo "$modules"
