#!/usr/bin/env bash
# Builds the program so that the same sources and the same compiler give the same bytes, wherever the sources lie and whoever
# builds. Prints the path of the program.
#   PROFILE=dist deploy/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-dist}
target=${CARGO_TARGET_DIR:-$PWD/target}
sysroot=$(rustc --print sysroot)
compiler=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Where something is found must not be in the program: neither in panics, nor in what C has of __FILE__. The last that
# fits counts, for rustc and for C.
places=(
    "$PWD=/portcullis"
    "$target=/portcullis/target"
    "${CARGO_HOME:-$HOME/.cargo}=/cargo"
    "$sysroot/lib/rustlib/src/rust=/rustc/$compiler"
)
rust=()
c=()
for place in "${places[@]}"; do
    rust+=("--remap-path-prefix=$place")
    c+=("-ffile-prefix-map=$place")
done

# Between them stands what RUSTFLAGS uses where paths may have spaces.
export CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${rust[*]}")
export CFLAGS="${c[*]}" CXXFLAGS="${c[*]}"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC ZERO_AR_DATE=1

cargo build --profile "$profile" --locked --bin portcullis >&2
directory=$profile
[ "$profile" != dev ] || directory=debug
echo "$target/$directory/portcullis"
