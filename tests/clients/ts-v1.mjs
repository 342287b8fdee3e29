// The official TypeScript SDK, version 1 (protocol revisions up to 2025-11-25). Usage: ts-v1.mjs MCP-URL

import './localhost.mjs';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Application, call, exercise, report } from './provider.mjs';

const url = new URL(process.argv[2]);
const application = await Application.start();
const transport = () => new StreamableHTTPClientTransport(url, { authProvider: application });
const client = () => new Client({ name: 'ts-v1', version: '1.0.0' });

const refused = transport();
await client().connect(refused).then(
  () => Promise.reject(new Error('connected without authorization')),
  (error) => (error instanceof UnauthorizedError ? undefined : Promise.reject(error)),
);
await refused.finishAuth(application.callback().get('code'));

const connected = client();
await connected.connect(transport());
const result = await exercise(connected);
application.spoilAccessToken();
await call(connected, 'whoami', {});
await connected.close();
report({ ...result, refreshed: application.authorizations === 1, registered: application.clientInformation().client_id !== undefined });
process.exit(0);
