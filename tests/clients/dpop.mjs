// openid-client with DPoP (RFC 9449): registers, signs in, refreshes, and calls a tool with bound tokens. Usage: dpop.mjs MCP-URL

import http from 'node:http';
import { once } from 'node:events';
import * as oidc from 'openid-client';
import { authorize } from './browser.mjs';
import { person, report } from './provider.mjs';

const mcp = new URL(process.argv[2]);
const server = http.createServer((request, response) => response.end('You may close this window.'));
server.listen(0, '127.0.0.1').unref();
await once(server, 'listening');
const redirectUri = `http://127.0.0.1:${server.address().port}/callback`;

const metadata = {
  client_name: 'openid-client with DPoP',
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
  dpop_bound_access_tokens: true,
};
const insecure = { algorithm: 'oauth2', execute: [oidc.allowInsecureRequests] };
const config = await oidc.dynamicClientRegistration(new URL(mcp.origin), metadata, oidc.None(), insecure);
const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());

const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
const expectedState = oidc.randomState();
const start = oidc.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri,
  code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: expectedState,
  resource: mcp.href,
  dpop_jkt: await DPoP.calculateThumbprint(),
});
const callback = await authorize(start, person);
const checks = { pkceCodeVerifier, expectedState };
const first = await oidc.authorizationCodeGrant(config, callback, checks, { resource: mcp.href }, { DPoP });
const stranger = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());
const refreshWithout = await errorOf(oidc.refreshTokenGrant(config, first.refresh_token));
const refreshOfAnother = await errorOf(oidc.refreshTokenGrant(config, first.refresh_token, {}, { DPoP: stranger }));
if (refreshOfAnother !== 'invalid_grant') throw new Error(`another key: ${refreshOfAnother}`);
const second = await oidc.refreshTokenGrant(config, first.refresh_token, {}, { DPoP });

let session;
await call('initialize', {
  protocolVersion: '2025-06-18',
  capabilities: {},
  clientInfo: { name: 'dpop', version: '1.0.0' },
});
const whoami = await call('tools/call', { name: 'whoami', arguments: {} });
const asBearer = await fetch(mcp, { method: 'POST', headers: { authorization: `Bearer ${second.access_token}` } });

report({
  token_types: [first.token_type, second.token_type],
  tokens: [first.access_token, second.access_token],
  whoami,
  as_bearer: asBearer.status,
  refresh_without: refreshWithout,
});
process.exit(0);

async function call(method, params) {
  const headers = new Headers({
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-06-18',
  });
  if (session) headers.set('mcp-session-id', session);
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const answer = await oidc.fetchProtectedResource(config, second.access_token, mcp, 'POST', body, headers, { DPoP });
  if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
  session ??= answer.headers.get('mcp-session-id');
  return answer.text();
}

function errorOf(attempt) {
  return attempt.then(
    () => 'none',
    (error) => error.error ?? error.code ?? String(error),
  );
}
