#!/usr/bin/env bash
# Builds the last commit twice, in directories of different names and depths, and compares: the same bytes, or status 1. With
# the profile of releases, or another one that is sooner done.
#   PROFILE=dev deploy/reproduce.sh
set -euo pipefail
cd "$(dirname "$0")/.."

trials=$(mktemp -d)
trap 'rm -rf "$trials"' EXIT
sum() {
    git clone --quiet . "$1"
    (cd "$1" && program=$(CARGO_TARGET_DIR=$2 CARGO_PROFILE_DEV_DEBUG=0 deploy/release.sh) && sha256sum <"$program")
}

one=$(sum "$trials/one" "$trials/one/target")
two=$(sum "$trials/somewhere/else/altogether" "$trials/built")
echo "$one"
echo "$two"
[ "$one" = "$two" ]
