// Lets the names below `localhost` resolve in this process (`node --import`). RFC 6761 §6.3 says that `*.localhost` is
// this machine, and browsers know that; glibc knows it only with systemd-resolved or nss-myhostname.

import dns from 'node:dns';

const system = dns.lookup;

dns.lookup = (name, ...rest) => system(/\.localhost\.?$/i.test(name) ? '127.0.0.1' : name, ...rest);
