#!/usr/bin/env bash
# Boots a clean system with systemd in a container (systemd-nspawn, as root), and lets deploy/debian/trial.sh install the package of
# deploy/debian/test.sh there: what that test cannot see without an init.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/debian/system.sh

needs_root 'a system that boots' test-systemd
make_package
make_system bootable apt adduser,ca-certificates,systemd-sysv,dbus,procps
cp .cache/package.deb "$root/root/portcullis.deb"
install -m 755 deploy/debian/trial.sh "$root/root/trial.sh"
: >"$root/etc/machine-id"
cat >"$root/etc/systemd/system/trial.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/trial.sh
StandardOutput=append:/root/trial.log
StandardError=append:/root/trial.log
ExecStopPost=/usr/bin/systemctl poweroff --force --force
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s /etc/systemd/system/trial.service "$root/etc/systemd/system/multi-user.target.wants/"

timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory "$root" --boot \
    >.cache/boot.log 2>&1 || true
cat "$root/root/trial.log"
grep -qx 'all is well' "$root/root/trial.log"
