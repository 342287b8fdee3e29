// Runs a server that the tests did not write: whatever it wants to listen on becomes a free port on loopback, and is printed as
// one line of JSON. Usage: announce.mjs PROGRAM ARGUMENT…

import net from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port !== 'number' && typeof port !== 'string') return listen.call(this, port, ...rest);
  this.once('listening', () => process.stdout.write(`${JSON.stringify({ port: this.address().port })}\n`));
  return listen.call(this, 0, '127.0.0.1', ...rest.filter((argument) => typeof argument === 'function'));
};

process.argv.splice(1, 1);
await import(pathToFileURL(path.resolve(process.argv[1])));
