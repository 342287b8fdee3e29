"""Lets the names below `localhost` resolve in this process.

RFC 6761 §6.3 says that `*.localhost` is this machine, and browsers know that. glibc knows it only with
systemd-resolved or nss-myhostname, so that a plain container does not; the clients under test ask glibc.
"""

import socket

_system = socket.getaddrinfo


def _getaddrinfo(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and name.lower().rstrip(".").endswith(".localhost"):
        host = "127.0.0.1"
    return _system(host, *rest, **named)


socket.getaddrinfo = _getaddrinfo
