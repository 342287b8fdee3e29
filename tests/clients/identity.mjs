// An OpenID provider that the project did not write: the npm package `oidc-provider`. Prints its issuer as one line of JSON,
// takes a line of JSON for every change (clients, accounts, keys), answers `ok`, and ends when its standard input does.

import { randomBytes, generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// oidc-provider tells on standard output that it is in a development set-up; that belongs to the line below.
console.info = console.error;

const server = http.createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const accounts = new Map();
let settings = { clients: [], conformIdTokenClaims: true, algorithm: 'RS256' };
let key = newKey();
let provider;
let callback = (_request, response) => response.writeHead(503).end();

server.on('request', (request, response) => {
  if (request.url.startsWith('/interaction/')) return interaction(request, response);
  return callback(request, response);
});
process.stdout.write(`${JSON.stringify({ issuer })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  change(JSON.parse(line));
  process.stdout.write('"ok"\n');
}
process.exit(0);

function change({ account, rotate, down, ...others }) {
  if (account) return accounts.set(account.sub, account);
  settings = { ...settings, ...others };
  if (rotate || others.algorithm) key = newKey();
  if (down) return (callback = (_request, response) => response.writeHead(503).end());
  provider = openidProvider();
  callback = provider.callback();
}

function newKey() {
  const pairs = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  };
  const jwk = pairs[settings.algorithm]().privateKey.export({ format: 'jwk' });
  return { ...jwk, kid: randomBytes(8).toString('hex'), use: 'sig', alg: settings.algorithm };
}

function openidProvider() {
  return new Provider(issuer, {
    jwks: { keys: [key] },
    cookies: { keys: ['only for tests'] },
    clients: settings.clients.map((client) => ({ id_token_signed_response_alg: settings.algorithm, ...client })),
    conformIdTokenClaims: settings.conformIdTokenClaims,
    scopes: ['openid', 'profile', 'email', 'groups'],
    claims: {
      openid: ['sub'],
      profile: ['preferred_username', 'name'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => accounts.get(id) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    features: { devInteractions: { enabled: false } },
    ttl: { AccessToken: 3600, Grant: 86400, Interaction: 600, Session: 86400, IdToken: 3600 },
  });
}

/** Sign-in is a form with the name of an account; consent is given without asking. */
async function interaction(request, response) {
  try {
    const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
    if (prompt.name === 'consent') {
      const accountId = session.accountId;
      const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope);
      return await finish(request, response, { consent: { grantId: await grant.save() } });
    }
    if (request.method !== 'POST') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      return response.end(`<title>Sign in at the provider</title><form method="post"><input name="account">
        <button name="decision" value="approve">Sign in</button><button name="decision" value="deny">Cancel</button></form>`);
    }
    const form = new URLSearchParams((await request.setEncoding('utf8').toArray()).join(''));
    const accepted = form.get('decision') !== 'deny' && accounts.has(form.get('account'));
    return await finish(request, response, accepted ? { login: { accountId: form.get('account') } } : { error: 'access_denied' });
  } catch (error) {
    response.statusCode = 400;
    return response.end(String(error));
  }
}

function finish(request, response, result) {
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}
