// A program without a person, by the official TypeScript SDK: client_credentials with a secret, or with a signed assertion
// where there is a key. Usage: CLIENT_ID=… CLIENT_SECRET=…|CLIENT_KEY=… machine.mjs MCP-URL

import './localhost.mjs';
import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { exercise, report } from './provider.mjs';

const url = new URL(process.argv[2]);
const { CLIENT_ID: clientId, CLIENT_SECRET: clientSecret, CLIENT_KEY: privateKey } = process.env;
const expectedIssuer = url.origin;
const authProvider = privateKey
  ? new PrivateKeyJwtProvider({ clientId, privateKey, algorithm: 'ES256', expectedIssuer })
  : new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer });

const client = new Client({ name: 'machine', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(url, { authProvider }));
const { access_token: token, refresh_token: refresh } = authProvider.tokens();
report({ ...(await exercise(client)), token, refresh: refresh ?? null });
await client.close();
process.exit(0);
