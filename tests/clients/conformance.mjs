// The client that the official conformance suite drives in its `client` mode: an SDK client that reaches the suite's server
// through a gateway. Usage: conformance.mjs FRONT UPSTREAM-URL, where FRONT is the test that has gateways to give.

import './localhost.mjs';
import tls from 'node:tls';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { Application, person } from './provider.mjs';

const [front, url] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
/** More often than the suite allows, so that it is the gateway that gives up. */
const PATIENCE = 10;

const gateway = await ask({ url, context: JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}') });
Object.assign(person, gateway.person);
if (gateway.certificate) tls.setDefaultCACertificates([gateway.certificate]);

const application = await Application.start();
// Otherwise this client would try a refresh before it asks a person again.
if (scenario === 'auth/scope-retry-limit') forgetRefreshTokens(application);
const outcome = await use(gateway.mcp).then(
  () => 'completed',
  (error) => String(error?.stack ?? error),
);
await ask({ outcome });
process.exit(0);

/** What every scenario wants of a client: list the tools, call one. */
async function use(mcp) {
  const newTransport = () =>
    new StreamableHTTPClientTransport(new URL(mcp), { authProvider: application, maxStepUpRetries: PATIENCE });
  let [client, transport] = [];
  await insist(() => {
    client = new Client({ name: 'conformance', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
    transport = newTransport();
    return client.connect(transport);
  }, () => transport);
  await insist(() => client.listTools(), () => transport);
  await insist(() => client.callTool({ name: 'test-tool', arguments: {} }), () => transport);
  await client.close();
}

/** Tries again after every authorization that is asked for. */
async function insist(attempt, transport) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || tries === PATIENCE) throw error;
      await transport().finishAuth(application.callback());
    }
  }
}

function forgetRefreshTokens(provider) {
  const save = provider.saveTokens.bind(provider);
  provider.saveTokens = ({ refresh_token: _, ...tokens }) => save(tokens);
}

async function ask(question) {
  const body = JSON.stringify({ scenario, ...question });
  const answer = await fetch(front, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!answer.ok) throw new Error(`${front}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
