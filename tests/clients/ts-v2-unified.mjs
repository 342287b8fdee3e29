// The official TypeScript SDK, version 2, at the unified endpoint. Usage: PLAN=… ts-v2-unified.mjs MCP-URL

import './localhost.mjs';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { Application, refusal, report } from './provider.mjs';
import { survey } from './survey.mjs';

const application = await Application.start();
const newTransport = () => new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider: application });
const newClient = () => new Client({ name: 'ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });

const refused = newTransport();
await refusal(newClient().connect(refused), UnauthorizedError);
await refused.finishAuth(application.callback());

const client = newClient();
await client.connect(newTransport());
report({ ...(await survey(client)), protocol: client.getNegotiatedProtocolVersion() });
await client.close();
process.exit(0);
