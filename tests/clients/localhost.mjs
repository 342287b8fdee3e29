// RFC 6761 §6.3: every name below `localhost` is the loopback interface. Browsers do that by themselves, many resolvers
// (glibc without nss-myhostname, musl, containers) do not, and a gateway for one's own machine lives on
// `<label>.localhost`. Everything in Node that connects by name (http, fetch, undici) asks `dns.lookup` at the time of the
// call, so this one replacement reaches all of it. Load it with `node --import ./localhost.mjs`.

import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';

const lookup = dns.lookup;

dns.lookup = function (hostname, options, callback) {
  if (!/(^|\.)localhost\.?$/i.test(hostname)) return lookup.call(this, hostname, options, callback);
  const done = typeof options === 'function' ? options : callback;
  const all = typeof options === 'object' && options?.all;
  process.nextTick(() => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)));
};
syncBuiltinESMExports();
