#!/usr/bin/env bash
# Prints the path of a Python interpreter that has the modules of tests/python/requirements.txt.
# The virtual environment is made once per version of that file, outside the source tree.
set -euo pipefail

requirements="$(cd "$(dirname "$0")/.." && pwd)/tests/python/requirements.txt"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/trefoil"
venv="$cache/python-$(sha256sum "$requirements" | cut -c1-12)"

mkdir -p "$cache"
exec 9>"$cache/python.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    echo "python: making $venv" >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    touch "$venv/complete"
fi
echo "$venv/bin/python"
