// A service that verifies our tokens with jose and a copy of the key set that it fetches once. Usage: jwks.mjs JWKS-URL; a line
// of JSON with a token and the time comes in, one with what was found goes out.

import { createInterface } from 'node:readline';
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose';

let fetches = 0;
const counted = (...request) => {
  fetches += 1;
  return fetch(...request);
};
const forever = { cacheMaxAge: Infinity, cooldownDuration: Infinity, [customFetch]: counted };
const keys = createRemoteJWKSet(new URL(process.argv[2]), forever);

for await (const line of createInterface({ input: process.stdin })) {
  const { token, now } = JSON.parse(line);
  const options = { typ: 'at+jwt', currentDate: new Date(now * 1000) };
  const result = await jwtVerify(token, keys, options).then(
    ({ protectedHeader }) => ({ alg: protectedHeader.alg }),
    (error) => ({ error: error.code ?? String(error) }),
  );
  process.stdout.write(`${JSON.stringify({ ...result, fetches })}\n`);
}
