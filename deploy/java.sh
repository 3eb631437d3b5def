#!/usr/bin/env bash
# Prints the class path of the programs in tests/java/, with PostgreSQL's JDBC driver as Debian has it.
# They are compiled once per version, outside the source tree.
set -euo pipefail

source="$(cd "$(dirname "$0")/.." && pwd)/tests/java"
driver=/usr/share/java/postgresql.jar
cache="${XDG_CACHE_HOME:-$HOME/.cache}/trefoil"
classes="$cache/java-$(cat "$source"/*.java "$driver" | sha256sum | cut -c1-12)"

mkdir -p "$cache"
exec 9>"$cache/java.lock"
flock 9
if [ ! -e "$classes/complete" ]; then
    rm -rf "$classes"
    echo "java: making $classes" >&2
    javac -cp "$driver" -d "$classes" "$source"/*.java >&2
    touch "$classes/complete"
fi
echo "$classes:$driver"
