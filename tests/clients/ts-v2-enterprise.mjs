// The official TypeScript SDK, version 2, in a company whose identity provider decides (Enterprise-Managed Authorization): no
// browser, no consent. The provider is here as well, as far as the client and the gateway need it. Prints its issuer, reads
// {url, clientId, clientSecret} from standard input, and reports what the tools said.

import './localhost.mjs';
import http from 'node:http';
import readline from 'node:readline';
import { once } from 'node:events';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import {
  Client,
  CrossAppAccessProvider,
  StreamableHTTPClientTransport,
  discoverAndRequestJwtAuthGrant,
} from '@modelcontextprotocol/client';
import { call, report } from './provider.mjs';

const ID_TOKEN = 'the ID token of the sign-in to the client';
const PERSON = 'U019488227';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' };
const granted = [];
let told;

const server = http.createServer(async (request, response) => {
  const json = (status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  switch (request.url) {
    case '/.well-known/oauth-authorization-server':
    case '/.well-known/openid-configuration':
      return json(200, metadata());
    case '/jwks':
      return json(200, { keys: [jwk] });
    case '/token':
      return json(...exchange(new URLSearchParams(Buffer.concat(chunks).toString())));
    default:
      return json(404, {});
  }
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

function metadata() {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
  };
}

/** An ID token for an identity assertion (RFC 8693), as the profile asks for it. */
function exchange(form) {
  const good =
    form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange' &&
    form.get('requested_token_type') === 'urn:ietf:params:oauth:token-type:id-jag' &&
    form.get('subject_token') === ID_TOKEN;
  if (!good) return [400, { error: 'invalid_request' }];
  const now = Math.floor(Date.now() / 1000);
  const [audience, resource] = [form.get('audience'), form.get('resource')];
  granted.push({ audience, resource });
  const access_token = signed(
    { alg: 'ES256', kid: jwk.kid, typ: 'oauth-id-jag+jwt' },
    {
      iss: issuer,
      sub: PERSON,
      aud: audience,
      client_id: told.clientId,
      jti: randomUUID(),
      iat: now,
      exp: now + 300,
      resource,
      scope: form.get('scope') ?? undefined,
    },
  );
  return [200, { issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag', access_token, token_type: 'N_A', expires_in: 300 }];
}

function signed(header, claims) {
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

process.stdout.write(`${JSON.stringify({ issuer })}\n`);
const [line] = await once(readline.createInterface({ input: process.stdin }), 'line');
told = JSON.parse(line);

const authProvider = new CrossAppAccessProvider({
  clientId: told.clientId,
  clientSecret: told.clientSecret,
  expectedIssuer: new URL(told.url).origin,
  assertion: async ({ authorizationServerUrl, resourceUrl, scope, fetchFn }) => {
    const options = { audience: authorizationServerUrl, resource: resourceUrl, scope, fetchFn };
    const result = await discoverAndRequestJwtAuthGrant({ ...options, idpUrl: issuer, idToken: ID_TOKEN, clientId: 'client' });
    return result.jwtAuthGrant;
  },
});
const client = new Client({ name: 'ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(new URL(told.url), { authProvider }));
const echo = await call(client, 'echo', { text: 'Grüße' });
const { access_token, refresh_token } = authProvider.tokens();
report({ echo, granted, bearer: access_token, refreshed: refresh_token !== undefined });
await client.close();
process.exit(0);
