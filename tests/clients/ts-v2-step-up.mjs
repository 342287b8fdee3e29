// The official TypeScript SDK, version 2, with a tool that takes more scope than was asked for at first. Usage:
// ts-v2-step-up.mjs MCP-URL

import './localhost.mjs';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Application, call, insist, report } from './provider.mjs';

const application = await Application.start();
let client, transport;
const insistently = (attempt) => insist(application, attempt, () => transport);
await insistently(() => {
  client = new Client({ name: 'ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  transport = new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider: application });
  return client.connect(transport);
});
await call(client, 'whoami', {});
const before = application.authorizations;
const written = await insistently(() => call(client, 'write', {}));
const { authorizations, scope } = application;
report({ written, before, authorizations, scope });
await client.close();
process.exit(0);
