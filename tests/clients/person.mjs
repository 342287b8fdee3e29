// The person at a browser is played by the test that started this program: it gets a line with an address to open and,
// where the way leads back to a redirect URI, where to stop; it answers with the address at which it arrived.

import { createInterface } from 'node:readline';

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Lets the person open an address; resolves to where the person arrived. */
export async function person(open, stop = '') {
  process.stdout.write(`${JSON.stringify({ open, stop })}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error('the person went away');
  return new URL(value);
}
