// `requireAuth` of clients/typescript in tools of both versions of the official SDK, called by clients of both.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { describe, test } from 'node:test';
import { Client as ClientV2, InMemoryTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport as InMemoryTransportV1 } from '@modelcontextprotocol/sdk/inMemory.js';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { answer, granted, KEY, LIBRARY, library, LINK, TOKEN, unconnected, withBroker } from '../../clients/typescript/test/broker.mjs';

const { requireAuth } = library;

/** Where servers and clients meet: each connects a client that opens links, or does not, to a server with one tool. */
const PLACES = { v1, 'v2 for a client of 2025-11-25': legacy, 'v2 for a client of 2026-07-28': modern };

// Each waits for its person in real time.
describe('requireAuth', { concurrency: true }, () => {
  for (const [name, place] of Object.entries(PLACES)) {
    test(`${name}: the tool gets the token`, async () => {
      const asked = await withBroker([granted()], (broker) =>
        place({ broker, scopes: ['drive'] }, async (client) => {
          const { tools } = await client.listTools();
          assert.deepEqual(Object.keys(tools[0].inputSchema.properties), ['folder']);
          const result = await call(client);
          assert.equal(result.content[0].text, `/ ${TOKEN}`);
        }),
      );
      assert.deepEqual(asked[0].body, { service: 'google', user_id: 'alice', scope: 'drive' });
    });

    test(`${name}: a client that opens no links gets it as text`, async () => {
      await withBroker([unconnected(), granted()], (broker) =>
        place({ broker }, async (client) => {
          const refused = await call(client);
          assert.ok(refused.isError && refused.content[0].text.includes(LINK), JSON.stringify(refused));
          assert.equal((await call(client)).content[0].text, `/ ${TOKEN}`, 'the same call, once the person has connected');
        }),
      );
    });

    test(`${name}: a client that opens links is asked, and the call goes on`, async () => {
      const person = new Person('accept');
      await withBroker([unconnected(), unconnected(), granted()], (broker) =>
        place({ broker, person }, async (client) => {
          assert.equal((await call(client)).content[0].text, `/ ${TOKEN}`);
        }),
      );
      assert.deepEqual(person.asked.map(({ mode, url }) => [mode, url]), [['url', LINK]]);
    });

    test(`${name}: a person who is slow or declines ends the call with a text`, async () => {
      for (const [action, told] of [['accept', LINK], ['decline', 'did not want'], ['cancel', 'did not want']]) {
        const person = new Person(action);
        await withBroker([unconnected()], (broker) =>
          place({ broker, person, patience: 1 }, async (client) => {
            const result = await call(client);
            assert.ok(result.isError && result.content[0].text.includes(told), JSON.stringify(result));
          }),
        );
        assert.equal(person.asked.length, 1);
      }
    });

    test(`${name}: other trouble is a text that says the fix`, async () => {
      for (const [given, told] of [[answer(403, {}), '--service google'], [answer(502, {}, { 'retry-after': '9' }), '9 seconds']]) {
        await withBroker([given], (broker) =>
          place({ broker, person: new Person('accept') }, async (client) => {
            const result = await call(client);
            assert.ok(result.isError && result.content[0].text.includes(told), JSON.stringify(result));
          }),
        );
      }
    });

    test(`${name}: nobody signed in is nobody`, async () => {
      const asked = await withBroker([granted()], async (broker) => {
        for (const user of [undefined, (caller) => caller.claims.sub, () => '', (caller) => caller.header('x-user-name')]) {
          await place({ broker, user }, async (client) => {
            const result = await call(client);
            assert.ok(result.isError && result.content[0].text.includes('not known who calls'), JSON.stringify(result));
          });
        }
      });
      assert.deepEqual(asked, []);
    });
  }
});

test('outside of MCP the error is the caller\'s', async () => {
  await withBroker([unconnected(), granted()], async (broker) => {
    const tool = requireAuth(broker.client(), { provider: 'google', user: 'alice' }, (token, text) => text + token.source);
    await assert.rejects(tool('from '), { name: 'AuthorizationRequired', authUrl: LINK });
    assert.equal(await tool('from '), 'from oauth');
  });
});

test('the example of the README, as it stands there', async (context) => {
  const readme = await readFile(new URL('../../clients/typescript/README.md', import.meta.url), 'utf8');
  const [, example] = /```ts\n(.*?)```/s.exec(readme);
  const lines = example.split('\n').filter((line) => /\w/.test(line));
  assert.ok(lines.length <= 10, `${lines.length} lines`);
  // Beside this file, where the SDK is found.
  const file = new URL(`.readme-${process.pid}.mjs`, import.meta.url);
  context.after(() => rm(file, { force: true }));
  await writeFile(file, example.replace("'portcullis-client'", JSON.stringify(LIBRARY)));
  const asked = await withBroker([granted()], async (broker) => {
    Object.assign(process.env, { PORTCULLIS_URL: broker.url, PORTCULLIS_API_KEY: KEY });
    const { default: handler } = await import(file);
    const elsewhere = globalThis.fetch;
    context.mock.method(globalThis, 'fetch', (url, init) =>
      String(url).startsWith('https://api.github.com/') ? new Response(`${url} ${init.headers.Authorization}`) : elsewhere(url, init),
    );
    const fetch = (url, init) => {
      const request = new Request(url, init);
      // As the proxy in front does.
      request.headers.set('x-user-name', 'alice%40home');
      return handler.fetch(request);
    };
    const client = new ClientV2(IDENTITY, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
    const result = await client.callTool({ name: 'find_issues', arguments: { query: 'a b' } });
    assert.equal(result.content[0].text, `https://api.github.com/search/issues?q=a%20b Bearer ${TOKEN}`);
    await client.close();
  });
  assert.deepEqual(asked[0].body, { service: 'github', user_id: 'alice@home', scope: 'repo' });
});

const call = (client) => client.callTool({ name: 'list_files', arguments: { folder: '/' } });

/** Sits at the MCP client. */
class Person {
  asked = [];

  constructor(action) {
    this.action = action;
  }

  answer = ({ params }) => {
    this.asked.push(params);
    return { action: this.action };
  };
}

/** The server `server` with its tool. `user` is alice unless it is named. */
function files(server, { broker, client = broker.client(), person: _, ...options }) {
  const required = { provider: 'google', patience: 9, server, ...('user' in options ? {} : { user: 'alice' }), ...options };
  const description = { description: 'Lists files', inputSchema: SCHEMA[server.constructor === McpServer ? 'v2' : 'v1'] };
  const tool = (token, { folder }) => ({ content: [{ type: 'text', text: `${folder} ${token.accessToken}` }] });
  server.registerTool('list_files', description, requireAuth(client, required, tool));
  return server;
}

const SCHEMA = { v1: { folder: z.string() }, v2: z.object({ folder: z.string() }) };
const IDENTITY = { name: 'files', version: '1.0.0' };
const capabilities = (person) => ({ capabilities: person ? { elicitation: { url: {} } } : {} });

async function v1(setting, use) {
  const [here, there] = InMemoryTransportV1.createLinkedPair();
  await files(new McpServerV1(IDENTITY), setting).connect(there);
  const client = new ClientV1(IDENTITY, capabilities(setting.person));
  if (setting.person) client.setRequestHandler(ElicitRequestSchema, setting.person.answer);
  await client.connect(here);
  await use(client);
  await client.close();
}

async function legacy(setting, use) {
  const [here, there] = InMemoryTransport.createLinkedPair();
  await files(new McpServer(IDENTITY), setting).connect(there);
  const client = new ClientV2(IDENTITY, capabilities(setting.person));
  if (setting.person) client.setRequestHandler('elicitation/create', setting.person.answer);
  await client.connect(here);
  assert.equal(client.getNegotiatedProtocolVersion(), '2025-11-25');
  await use(client);
  await client.close();
}

async function modern(setting, use) {
  // One client of the broker for all of the servers, of which each request has one.
  const client = setting.broker.client();
  const handler = createMcpHandler(() => files(new McpServer(IDENTITY), { ...setting, client }));
  const server = http.createServer(toNodeHandler(handler)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const options = { ...capabilities(setting.person), versionNegotiation: { mode: 'auto' } };
  const mcp = new ClientV2(IDENTITY, options);
  if (setting.person) mcp.setRequestHandler('elicitation/create', setting.person.answer);
  await mcp.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${server.address().port}/mcp`)));
  assert.equal(mcp.getNegotiatedProtocolVersion(), '2026-07-28');
  await use(mcp);
  await mcp.close();
  server.closeAllConnections();
  server.close();
}
