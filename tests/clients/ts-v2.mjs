// The official TypeScript SDK, version 2 (protocol revision 2026-07-28, older ones when the server is). Usage: ts-v2.mjs MCP-URL

import './localhost.mjs';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { Application, call, exercise, report } from './provider.mjs';

const url = new URL(process.argv[2]);
const application = await Application.start();
const transport = () => new StreamableHTTPClientTransport(url, { authProvider: application });
const client = () => new Client({ name: 'ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });

const refused = transport();
await client().connect(refused).then(
  () => Promise.reject(new Error('connected without authorization')),
  (error) => (error instanceof UnauthorizedError ? undefined : Promise.reject(error)),
);
await refused.finishAuth(application.callback());

const connected = client();
await connected.connect(transport());
const result = await exercise(connected);
application.spoilAccessToken();
await call(connected, 'whoami', {});
await connected.close();
report({ ...result, refreshed: application.authorizations === 1, registered: application.clientInformation().client_id !== undefined });
process.exit(0);
