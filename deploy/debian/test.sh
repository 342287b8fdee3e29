#!/usr/bin/env bash
# Packages the program as it is built for tests, makes a clean system, and runs tests/it/package.rs with both.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/debian/system.sh

needs_root 'a clean system' test-package
make_package
make_system system essential adduser,ca-certificates
# Services are not started while the package is installed: there is no init.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

PORTCULLIS_PACKAGE=$PWD/.cache/package.deb PORTCULLIS_ROOT=$root cargo test --test it -- --ignored package::
