#!/bin/bash
# Runs inside a system that deploy/debian/boot.sh has booted. The first step that fails ends it.
set -euxo pipefail

is() { [ "$(systemctl show portcullis -p "$1" --value)" = "$2" ]; }
main() { systemctl show portcullis -p MainPID --value; }
status() { grep "^$1:" "/proc/$(main)/status" | cut -f 2; }
wait_for() { for _ in $(seq 300); do "$@" && return; sleep 0.2; done; return 1; }
became() { [ "$(main)" != "$1" ] && [ "$(main)" != 0 ]; }

# Installed, started, in its sandbox.
dpkg --install /root/portcullis.deb
wait_for is ActiveState active
portcullis health
systemctl show portcullis -p StatusText --value | grep '^serving http://localhost:8080 on 127.0.0.1:8080$'
[ "$(status CapEff)" = 0000000000000400 ] && [ "$(status CapBnd)" = 0000000000000400 ]
[ "$(status NoNewPrivs)" = 1 ] && [ "$(status Seccomp)" = 2 ]
[ "$(stat -c %U:%a /var/lib/portcullis/vault.key)" = portcullis:600 ]

# A reload is answered; a bad one changes nothing and is told.
systemctl reload portcullis
wait_for is ActiveState active
echo 'nonsense = 1' >>/etc/portcullis/portcullis.toml
systemctl reload portcullis
wait_for eval 'systemctl show portcullis -p StatusText --value | grep -q "had errors"'
sed -i '/^nonsense/d' /etc/portcullis/portcullis.toml

# The package again: another process is the main one, and nothing was restarted.
old=$(main)
dpkg --install /root/portcullis.deb
wait_for became "$old"
is NRestarts 0 && is ActiveState active
portcullis health

# The new main process is watched.
old=$(main)
kill -STOP "$old"
wait_for became "$old"
wait_for is ActiveState active
is NRestarts 1

# Sockets of systemd, and no capability at all.
systemctl stop portcullis
sed -i -e 's/0.0.0.0:443/127.0.0.1:8080/' -e '/0.0.0.0:80$/d' /usr/lib/systemd/system/portcullis.socket
mkdir -p /etc/systemd/system/portcullis.service.d
cp /usr/share/doc/portcullis/examples/systemd/without-capabilities.conf /etc/systemd/system/portcullis.service.d/
systemctl daemon-reload
systemctl start portcullis.socket
exec 3<>/dev/tcp/127.0.0.1/8080
printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
timeout 60 cat <&3 | grep '"ok"'
[ "$(status CapBnd)" = 0000000000000000 ]

# Gone.
rm -r /etc/systemd/system/portcullis.service.d
dpkg --purge portcullis
! getent passwd portcullis
! ls -d /etc/portcullis /var/lib/portcullis /var/log/portcullis
echo 'all is well'
