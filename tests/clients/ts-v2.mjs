// The official TypeScript SDK, version 2 (protocol revision 2026-07-28, and older servers too). Usage: ts-v2.mjs MCP-URL

import './localhost.mjs';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { Application, call, exercise, refusal, report } from './provider.mjs';

const application = await Application.start();
const newTransport = () => new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider: application });
const newClient = () => new Client({ name: 'ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });

const refused = newTransport();
await refusal(newClient().connect(refused), UnauthorizedError);
await refused.finishAuth(application.callback());

const client = newClient();
await client.connect(newTransport());
const result = await exercise(client);
application.spoilAccessToken();
await call(client, 'whoami', {});
const { refreshed, bearers } = application;
report({ ...result, refreshed, bearers, protocol: client.getNegotiatedProtocolVersion() });
await client.close();
process.exit(0);
