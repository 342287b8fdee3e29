// An MCP server whose tool is guarded by `requireAuth` of clients/typescript, and the official SDK's client that calls it.
//
// Usage: require-auth.mjs v1|v2 WHOAMI-URL, with the built library in PORTCULLIS_CLIENT. Each line of standard input is
// a call: who makes it, and whether the client opens links. Each answer is a line: the tool's result, or `open` with a
// link, after which the next line says what the person did.

import './localhost.mjs';
import { once } from 'node:events';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

const { AuthClient, requireAuth } = await import(process.env.PORTCULLIS_CLIENT);
const [version, whoamiUrl] = process.argv.slice(2);
const IDENTITY = { name: 'whoami', version: '1.0.0' };
let ahead = 0;
const clocks = { steady: () => performance.now() + 1000 * ahead, wall: () => Date.now() + 1000 * ahead };
const broker = new AuthClient({ clocks });

const listener = http.createServer(version === 'v1' ? serveV1() : serveV2()).listen(0, '127.0.0.1');
await once(listener, 'listening');
const url = new URL(`http://127.0.0.1:${listener.address().port}/mcp`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
tell({ ready: true });
for (let line = await read(); line; line = await read()) {
  ahead = line.ahead ?? ahead;
  tell(await call(line));
}
process.exit(0);

/** The tool of both servers. */
function guarded(server) {
  return requireAuth(broker, { provider: 'google', scopes: ['openid'], server }, async (token, { greeting }) => {
    const answer = await fetch(whoamiUrl, { headers: token.headers });
    if (answer.status === 401) broker.invalidate(token);
    const { sub } = await answer.json();
    const told = { greeting, sub, source: token.source, token: token.accessToken };
    return { content: [{ type: 'text', text: JSON.stringify(told) }] };
  });
}

/** Who calls is what the bearer token says, as if that had been verified. */
function authInfo(request) {
  const [, name] = /^Bearer (alice|bob)$/.exec(request.headers.authorization) ?? [];
  return { token: 'verified', clientId: 'test', scopes: [], extra: { sub: `id of ${name}`, username: name } };
}

/** A session for each client, so that the server can ask it. */
function serveV1() {
  const sessions = new Map();
  return async (request, response) => {
    request.auth = authInfo(request);
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => crypto.randomUUID(),
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      const server = new McpServerV1(IDENTITY);
      server.registerTool('whoami', { inputSchema: { greeting: z.string() } }, guarded(server));
      await server.connect(transport);
    }
    await transport.handleRequest(request, response);
  };
}

function serveV2() {
  const handler = createMcpHandler(() => {
    const server = new McpServer(IDENTITY);
    server.registerTool('whoami', { inputSchema: z.object({ greeting: z.string() }) }, guarded(server));
    return server;
  });
  return (request, response) =>
    toNodeHandler({ fetch: (web) => handler.fetch(web, { authInfo: authInfo(request) }) })(request, response);
}

async function call({ as, opens }) {
  const person = async ({ params }) => {
    tell({ open: params.url, mode: params.mode });
    return { action: (await read()).action };
  };
  const capabilities = opens ? { elicitation: { url: {} } } : {};
  const requestInit = { headers: { authorization: `Bearer ${as}` } };
  const client = version === 'v1' ? new ClientV1(IDENTITY, { capabilities })
    : new ClientV2(IDENTITY, { capabilities, versionNegotiation: { mode: 'auto' } });
  if (opens) client.setRequestHandler(version === 'v1' ? ElicitRequestSchema : 'elicitation/create', person);
  await client.connect(version === 'v1' ? new TransportV1(url, { requestInit }) : new TransportV2(url, { requestInit }));
  const result = await client.callTool({ name: 'whoami', arguments: { greeting: 'hello' } });
  await client.close();
  return { error: result.isError ?? false, text: result.content[0].text };
}

async function read() {
  const { value } = await lines.next();
  return value && JSON.parse(value);
}

function tell(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
