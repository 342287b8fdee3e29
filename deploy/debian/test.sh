#!/usr/bin/env bash
# Packages the program as it is built for tests, makes a clean system, and runs tests/it/package.rs with both.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" = 0 ] || { echo 'a clean system needs root: sudo make test-package' >&2; exit 1; }

target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --bin portcullis
deploy/debian/package.sh "$target/debug/portcullis"
cargo deb --no-build --no-strip --fast --locked --quiet --output .cache/package.deb

# Of this machine's own release: the program needs no newer C library than there is.
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
system=.cache/system-$release.tar
if [ ! -s "$system" ]; then
    mmdebstrap --quiet --format=tar --variant=essential --include=adduser,ca-certificates "$release" "$system.new"
    mv "$system.new" "$system"
fi
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
tar --extract --file "$system" --directory "$root"
# Services are not started while the package is installed: there is no init.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root" "$root/usr/sbin/policy-rc.d"

PORTCULLIS_PACKAGE=$PWD/.cache/package.deb PORTCULLIS_ROOT=$root cargo test --test it -- --ignored package::
