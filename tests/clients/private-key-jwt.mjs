// openid-client registers with a key of its own and signs whatever it asks our authorization server for: code, refresh,
// revocation. Usage: private-key-jwt.mjs MCP-URL

import './localhost.mjs';
import * as oauth from 'openid-client';
import { generateKeyPairSync } from 'node:crypto';
import { Application, report } from './provider.mjs';

const [issuer, resource] = [new URL('/', process.argv[2]), process.argv[2]];
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'RS256' };
const pkcs8 = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const key = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);

const application = await Application.start();
const redirect_uri = application.redirectUrl;
const metadata = {
  client_name: 'openid-client with a key',
  redirect_uris: [redirect_uri],
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: 'RS256',
  jwks: { keys: [jwk] },
};
const options = { execute: [oauth.allowInsecureRequests], algorithm: 'oauth2' };
const signing = oauth.PrivateKeyJwt({ key, kid: 'one' });
const client = await oauth.dynamicClientRegistration(issuer, metadata, signing, options);

const [verifier, state] = [oauth.randomPKCECodeVerifier(), application.state()];
const code_challenge = await oauth.calculatePKCECodeChallenge(verifier);
const start = { redirect_uri, resource, state, code_challenge, code_challenge_method: 'S256' };
await application.redirectToAuthorization(oauth.buildAuthorizationUrl(client, start));
const back = new URL(`${redirect_uri}?${application.callback()}`);
const expected = { pkceCodeVerifier: verifier, expectedState: state };
const first = await oauth.authorizationCodeGrant(client, back, expected, { resource });
const second = await oauth.refreshTokenGrant(client, first.refresh_token);
const { client_id } = client.clientMetadata();
const public_ = new oauth.Configuration(client.serverMetadata(), client_id, undefined, oauth.None());
oauth.allowInsecureRequests(public_);
const unsigned = await oauth.refreshTokenGrant(public_, second.refresh_token).catch((error) => error.error);
await oauth.tokenRevocation(client, second.refresh_token);
const afterwards = await oauth.refreshTokenGrant(client, second.refresh_token).catch((error) => error.error);
report({ id: client_id, token: second.access_token, unsigned, afterwards });
process.exit(0);
