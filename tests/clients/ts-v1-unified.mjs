// The official TypeScript SDK, version 1, at the unified endpoint. Usage: PLAN=… ts-v1-unified.mjs MCP-URL

import './localhost.mjs';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Application, refusal, report } from './provider.mjs';
import { survey } from './survey.mjs';

const application = await Application.start();
const newTransport = () => new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider: application });
const newClient = () => new Client({ name: 'ts-v1', version: '1.0.0' });

const refused = newTransport();
await refusal(newClient().connect(refused), UnauthorizedError);
await refused.finishAuth(application.callback().get('code'));

const [client, transport] = [newClient(), newTransport()];
await client.connect(transport);
report({ ...(await survey(client)), protocol: transport.protocolVersion });
await client.close();
process.exit(0);
