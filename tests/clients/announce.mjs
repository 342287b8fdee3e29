// For servers that the tests did not write: whatever they want to listen on becomes a free port on loopback, and is printed
// as one line of JSON. Load it with `node --import ./announce.mjs`.

import net from 'node:net';

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port !== 'number' && typeof port !== 'string') return listen.call(this, port, ...rest);
  this.once('listening', () => process.stdout.write(`${JSON.stringify({ port: this.address().port })}\n`));
  return listen.call(this, 0, '127.0.0.1', ...rest.filter((argument) => typeof argument === 'function'));
};
