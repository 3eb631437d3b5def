#!/usr/bin/env bash
# Writes what each program consists of, as CycloneDX 1.5 (PROGRAM.cdx.json), into a directory: every crate
# of any of its features on Linux, with version, hash and licence. Fails if one is missing. Needs no network
# once cargo-cyclonedx is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:?usage: deploy/sbom.sh DIRECTORY}"
target=x86_64-unknown-linux-gnu
mkdir -p "$out"

command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx
# It writes beside each manifest.
trap 'find . -name "*_bin.cdx.json" -not -path "./target/*" -delete' EXIT
cargo metadata --locked --format-version 1 >/dev/null
cargo cyclonedx --quiet --describe binaries --format json --spec-version 1.5 --all-features --target "$target"

for program in proxy:trefoil-proxy app-shim:trefoil-shim tenant-admin:trefoil-admin; do
    name="${program#*:}"
    # Where the tree lies on this machine is nobody's business.
    sed "s|file://$PWD/|file:///|g" "${program%%:*}/${name}_bin.cdx.json" >"$out/$name.cdx.json"
    cargo tree --locked --package "$name" --all-features --target "$target" --edges no-dev --prefix none \
        --format '{p}' | awk '{ print $1, $2 }' | sort -u | python3 -c '
import json, sys
name, file = sys.argv[1:]
bill = json.load(open(file))
parts = {(part["name"], "v" + part["version"]): part for part in bill["components"]}
missing = {tuple(line.split()) for line in sys.stdin} - parts.keys() - {(name, "v" + bill["metadata"]["component"]["version"])}
bare = [part["name"] for part in parts.values() if not part.get("licenses")]
if missing or bare:
    sys.exit(f"sbom: {name}: missing {sorted(missing)}, without a licence {bare}")
print(f"sbom: {file}: {len(parts)} crates, all with a licence")
' "$name" "$out/$name.cdx.json"
done
