// The client that the official conformance suite runs in its `client` mode: it reaches the suite's server through a gateway.
// Usage: conformance.mjs FRONT UPSTREAM-URL, where FRONT is the test, which has gateways to give.

import './localhost.mjs';
import tls from 'node:tls';

const [front, url] = process.argv.slice(2);
const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_CONTEXT: context = '{}' } = process.env;
// The suites of drafts have more than authorization in them.
if (!scenario.startsWith('auth/')) process.exit(0);

const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
const { Application, insist, person } = await import('./provider.mjs');

const gateway = await ask({ url, context: JSON.parse(context) });
if (gateway.certificate) tls.setDefaultCACertificates([gateway.certificate]);
Object.assign(person, gateway.person);

const application = await Application.start();
// Otherwise the client would try a refresh before it asks a person again.
if (scenario === 'auth/scope-retry-limit') application.forgetsRefreshTokens = true;
const outcome = await use(new URL(gateway.mcp)).then(
  () => 'completed',
  (error) => String(error?.stack ?? error),
);
await ask({ outcome });
process.exit(0);

/** What every scenario wants of a client: list the tools, call one. */
async function use(mcp) {
  // More patience than the suite has, so that it is the gateway that gives up.
  const newTransport = () => new StreamableHTTPClientTransport(mcp, { authProvider: application, maxStepUpRetries: 10 });
  let client, transport;
  const insistently = (attempt) => insist(application, attempt, () => transport);
  await insistently(() => {
    client = new Client({ name: 'conformance', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
    return client.connect((transport = newTransport()));
  });
  await insistently(() => client.listTools());
  await insistently(() => client.callTool({ name: 'test-tool', arguments: {} }));
  await client.close();
}

async function ask(question) {
  const body = JSON.stringify({ scenario, ...question });
  const answer = await fetch(front, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!answer.ok) throw new Error(`${front}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
