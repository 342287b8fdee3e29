#!/usr/bin/env bash
# Writes the list of what the program is made of, with licences and checksums (CycloneDX 1.5), and looks whether it is one.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
# Of one moment, that of the last commit: the same sources make the same list.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# What is compiled in for the machines that releases are for; what only builds and tests need is not.
cargo cyclonedx --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-gnu --override-filename portcullis.cdx
mkdir -p "$target"
# Where the sources lay on the machine that wrote it is nobody's business.
sed "s#path+file://$PWD\b#path+file:///portcullis#g" portcullis.cdx.json >"$target/portcullis.cdx.json"
rm portcullis.cdx.json

python3 - "$target/portcullis.cdx.json" <<'END'
import json, sys

bom = json.load(open(sys.argv[1]))
parts = bom["components"]
names = {part["name"] for part in parts}
assert bom["bomFormat"] == "CycloneDX" and bom["metadata"]["component"]["name"] == "portcullis"
assert {"pingora-core", "rustls", "ring", "tokio"} <= names, "something that the program is made of is missing"
without = [part["name"] for part in parts if not part.get("licenses")]
assert not without, f"no licence: {without}"
print(f"{sys.argv[1]}: {len(parts)} components")
END
