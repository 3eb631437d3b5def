#!/usr/bin/env bash
# Prints the path of the program of tests/go/, with pgx as Debian has it. It is built once per version,
# outside the source tree.
set -euo pipefail

source="$(cd "$(dirname "$0")/.." && pwd)/tests/go"
libraries=/usr/share/gocode
cache="${XDG_CACHE_HOME:-$HOME/.cache}/trefoil"
version="$({ cat "$source"/*.go "$libraries"/src/github.com/jackc/{,pgx/}*/go.mod; go version; } | sha256sum | cut -c1-12)"
program="$cache/go-$version"

mkdir -p "$cache"
exec 9>"$cache/go.lock"
flock 9
if [ ! -e "$program" ]; then
    echo "go: making $program" >&2
    # Without modules: the libraries are files of the system, and nothing is fetched.
    GO111MODULE=off GOPATH="$libraries" GOFLAGS= go build -o "$program.new" "$source"/*.go >&2
    mv "$program.new" "$program"
fi
echo "$program"
