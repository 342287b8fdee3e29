// openid-client as a client of our authorization server: device flow, refresh, revocation, code flow. It checks issuer,
// `iss`, `state` and token responses by itself. Usage: openid-client.mjs ISSUER RESOURCE

import './localhost.mjs';
import * as oauth from 'openid-client';
import { person } from './person.mjs';

const [issuer, resource] = [new URL(process.argv[2]), process.argv[3]];
const options = { execute: [oauth.allowInsecureRequests], algorithm: 'oauth2' };
const register = (metadata, authentication) => oauth.dynamicClientRegistration(issuer, metadata, authentication, options);

const device = await register(
  {
    client_name: 'openid-client on a television',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
    token_endpoint_auth_method: 'none',
  },
  oauth.None(),
);
const asked = await oauth.initiateDeviceAuthorization(device, { resource });
const polling = oauth.pollDeviceAuthorizationGrant(device, asked);
await person(asked.verification_uri_complete);
const first = await polling;
const second = await oauth.refreshTokenGrant(device, first.refresh_token);
await oauth.tokenRevocation(device, second.refresh_token);
const afterwards = await oauth.refreshTokenGrant(device, second.refresh_token).catch((error) => error.error);

const redirect_uri = 'https://app.example/callback';
// It sends its secret in the form whatever it was registered for, and ours is a server that insists.
const web = await register({
  client_name: 'openid-client on the web',
  redirect_uris: [redirect_uri],
  token_endpoint_auth_method: 'client_secret_post',
});
const [verifier, state] = [oauth.randomPKCECodeVerifier(), oauth.randomState()];
const code_challenge = await oauth.calculatePKCECodeChallenge(verifier);
const start = { redirect_uri, resource, state, code_challenge, code_challenge_method: 'S256' };
const back = await person(oauth.buildAuthorizationUrl(web, start).href, redirect_uri);
const third = await oauth.authorizationCodeGrant(
  web,
  back,
  { pkceCodeVerifier: verifier, expectedState: state },
  { resource },
);

process.stdout.write(
  `${JSON.stringify({
    supports: device.serverMetadata().grant_types_supported,
    device: second.access_token,
    afterwards,
    code: third.access_token,
  })}\n`,
);
process.exit(0);
