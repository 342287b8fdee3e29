// The server that the conformance suite tests, directly and through a gateway: built on the official SDK, both protocol
// eras, every feature that the suite asks for and the SDK has (it has no tasks). Prints one line of JSON when it is
// ready, and ends when its standard input does.

import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  CLIENT_CAPABILITIES_META_KEY,
  McpServer,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  acceptedContent,
  completable,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  hostHeaderValidationResponse,
  inputRequired,
  inputResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  originValidationResponse,
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

/** A red pixel, and a tenth of a millisecond of silence. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = Buffer.from('RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0@\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80', 'latin1');

const states = createRequestStateCodec({ key: randomBytes(32) });
const modern = createMcpHandler(() => conformanceServer(modern.notify), { legacy: 'reject' });
const sessions = new Map();

if (process.argv[2] === '--stdio') serveStdio(() => connectionServer());
else await listen();

async function listen() {
  const server = http.createServer(toNodeHandler({ fetch: serve })).listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
}

async function serve(request) {
  const refused =
    hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
    originValidationResponse(request, localhostAllowedOrigins());
  if (refused) return refused;
  if (new URL(request.url).pathname !== '/mcp') return new Response('not found', { status: 404 });
  return (await isLegacyRequest(request)) ? serveSession(request) : modern.fetch(request);
}

/** The era of sessions: one server for each, streams that can be resumed. */
async function serveSession(request) {
  const id = request.headers.get('mcp-session-id');
  if (id) {
    const error = { code: -32001, message: 'Session not found' };
    return sessions.get(id)?.handleRequest(request) ?? Response.json({ jsonrpc: '2.0', id: null, error }, { status: 404 });
  }
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: 200,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await connectionServer().connect(transport);
  return transport.handleRequest(request);
}

/** A server that has one connection, and tells those at its other end of changes. */
function connectionServer() {
  const server = conformanceServer({
    toolsChanged: () => server.sendToolListChanged(),
    promptsChanged: () => server.sendPromptListChanged(),
  });
  return server;
}

/** Keeps every event of a session; an id is the event's place. */
function eventStore() {
  const events = [];
  return {
    storeEvent: async (stream, message) => String(events.push({ stream, message }) - 1),
    getStreamIdForEventId: async (id) => events[id]?.stream,
    async replayEventsAfter(last, { send }) {
      const { stream } = events[last];
      for (let id = Number(last) + 1; id < events.length; id += 1) {
        if (events[id].stream === stream) await send(String(id), events[id].message);
      }
      return stream;
    },
  };
}

function conformanceServer(notify) {
  const server = new McpServer(
    { name: 'conformance', version: '1.0.0' },
    {
      capabilities: {
        completions: {},
        logging: {},
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        tools: { listChanged: true },
      },
      requestState: { verify: states.verify },
    },
  );
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
  const tool = (name, handler, inputSchema) =>
    server.registerTool(name, { description: `What ${name} is about, the suite says`, inputSchema }, handler);
  addContent(tool);
  addCourse(tool, notify);
  addQuestions(tool);
  addInputRequired(tool);
  addResources(server);
  addPrompts(server);
  return server;
}

const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const resource = (uri, mimeType, value) => ({ type: 'resource', resource: { uri, mimeType, text: value } });
const says = (...content) => ({ content: content.map((part) => (typeof part === 'string' ? text(part) : part)) });

/** Tools that answer at once, with every kind of content and schema. */
function addContent(tool) {
  const embedded = resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.');
  const mixed = resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}');
  // First in the list: the suite's checks of headers take the first tool, and the first parameter with a header.
  tool('test_simple_text', () => says('This is a simple text response for testing.'));
  tool('test_image_content', () => says(image));
  tool('test_audio_content', () => says({ type: 'audio', data: WAV.toString('base64'), mimeType: 'audio/wav' }));
  tool('test_embedded_resource', () => says(embedded));
  tool('test_multiple_content_types', () => says('Multiple content types test:', image, mixed));
  tool('test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  const region = { type: 'string', 'x-mcp-header': 'Region' };
  const headers = fromJsonSchema({ type: 'object', properties: { region }, required: ['region'] });
  tool('test_custom_header', (input) => says(`The region is ${input.region}`), headers);
  tool('json_schema_2020_12_tool', () => says('valid'), fromJsonSchema(JSON_SCHEMA));
}

const JSON_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

/** Tools that tell about themselves while they run, or change what the server offers. */
function addCourse(tool, notify) {
  tool('test_tool_with_logging', async ({ mcpReq }) => {
    for (const message of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await mcpReq.log('info', message);
      await sleep(50);
    }
    return says('Three messages were logged');
  });
  tool('test_logging_tool', async ({ mcpReq }) => {
    await mcpReq.log('info', 'Only for those who asked for it');
    return says('Perhaps something was logged');
  });
  tool('test_tool_with_progress', async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      const params = { progressToken, progress, total: 100 };
      if (progressToken !== undefined) await mcpReq.notify({ method: 'notifications/progress', params });
      await sleep(50);
    }
    return says('The tool went all the way');
  });
  tool('test_reconnection', async ({ http }) => {
    // The client comes back with the id of the last event that it saw, and gets the result then.
    http?.closeSSE?.();
    await sleep(100);
    return says('Reconnected');
  });
  tool('test_trigger_tool_change', () => {
    notify.toolsChanged();
    return says('The tools changed');
  });
  tool('test_trigger_prompt_change', () => {
    notify.promptsChanged();
    return says('The prompts changed');
  });
}

const elicit = (message, properties, required = Object.keys(properties)) =>
  inputRequired.elicit({ message, requestedSchema: { type: 'object', properties, required } });
const sample = (prompt, maxTokens = 100) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(prompt) }], maxTokens });
const asks = (inputRequests, requestState) => inputRequired({ inputRequests, requestState });

/** Tools that need something from the client. In the era of sessions the SDK turns it into a request of the server. */
function addQuestions(tool) {
  const told = (answer) => JSON.stringify({ action: answer.action, content: answer.content });
  tool(
    'test_sampling',
    ({ prompt }, { mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, 'message');
      return answer.kind === 'sampling' ? says(`LLM response: ${answer.result.content.text}`) : asks({ message: sample(prompt) });
    },
    z.object({ prompt: z.string() }),
  );
  tool(
    'test_elicitation',
    ({ message }, { mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, 'user');
      const username = { type: 'string', description: "User's response" };
      const email = { type: 'string', description: "User's email address" };
      return answer.kind === 'elicit' ? says(`User response: ${told(answer)}`) : asks({ user: elicit(message, { username, email }) });
    },
    z.object({ message: z.string() }),
  );
  for (const [name, properties] of [
    ['test_elicitation_sep1034_defaults', DEFAULTS],
    ['test_elicitation_sep1330_enums', ENUMS],
  ]) {
    tool(name, ({ mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, 'form');
      const asked = { form: elicit('Please fill in the form', properties, []) };
      return answer.kind === 'elicit' ? says(`Elicitation completed: ${told(answer)}`) : asks(asked);
    });
  }
  tool('test_streaming_elicitation', async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken ?? 'streaming';
    await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
    return asks({ go_on: elicit('Shall it go on?', { ok: { type: 'boolean' } }) });
  });
  tool('test_missing_capability', () => asks({ message: sample('Say something') }));
}

const DEFAULTS = {
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
};

const titled = (...titles) => titles.map((title, at) => ({ const: `value${at + 1}`, title }));
const ENUMS = {
  untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  titledSingle: { type: 'string', oneOf: titled('First Option', 'Second Option', 'Third Option') },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
  untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
  titledMulti: { type: 'array', items: { anyOf: titled('First Choice', 'Second Choice', 'Third Choice') } },
};

const NAME = z.object({ name: z.string() });
const askName = elicit('What is your name?', { name: { type: 'string' } });
const confirm = { confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) };

/** Results that ask for more before they are results (SEP-2322). */
function addInputRequired(tool) {
  const add = (name, handler) => tool(`test_input_required_result_${name}`, handler);
  add('elicitation', ({ mcpReq }) => {
    const user = acceptedContent(mcpReq.inputResponses, 'user_name', NAME);
    return user ? says(`Hello, ${user.name}!`) : asks({ user_name: askName });
  });
  add('sampling', ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, 'capital_question');
    if (answer.kind !== 'sampling') return asks({ capital_question: sample('What is the capital of France?') });
    return says(answer.result.content.text);
  });
  add('list_roots', ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, 'client_roots');
    if (answer.kind !== 'roots') return asks({ client_roots: inputRequired.listRoots() });
    return says(answer.roots.map((root) => root.uri).join(' '));
  });
  for (const name of ['request_state', 'tampered_state']) {
    add(name, async ({ mcpReq }) =>
      mcpReq.requestState() ? says('state-ok') : asks(confirm, await states.mint({ round: 1 })),
    );
  }
  add('multiple_inputs', async ({ mcpReq }) => {
    const requests = { user_name: askName, greeting: sample('Generate a greeting', 50), client_roots: inputRequired.listRoots() };
    const missing = Object.keys(requests).filter((key) => inputResponse(mcpReq.inputResponses, key).kind === 'missing');
    return missing.length === 0 ? says('All of it came') : asks(requests, await states.mint({ missing }));
  });
  add('multi_round', async ({ mcpReq }) => {
    const round = mcpReq.requestState()?.round ?? 0;
    const questions = [
      { step1: elicit('Step 1: What is your name?', { name: { type: 'string' } }) },
      { step2: elicit('Step 2: What is your favorite color?', { color: { type: 'string' } }) },
    ];
    return round === questions.length ? says('Done') : asks(questions[round], await states.mint({ round: round + 1 }));
  });
  add('capabilities', ({ mcpReq }) => {
    const declared = mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
    return asks({
      ...(declared.sampling && { message: sample('Say something') }),
      ...(declared.elicitation && { user_name: askName }),
    });
  });
}

function addResources(server) {
  const add = (name, uri, mimeType, contents) => {
    const metadata = { description: `The resource ${uri}`, mimeType };
    server.registerResource(name, uri, metadata, () => ({ contents: [{ uri, mimeType, ...contents }] }));
  };
  add('static-text', 'test://static-text', 'text/plain', { text: 'This is the content of the static text resource.' });
  add('static-binary', 'test://static-binary', 'image/png', { blob: PNG });
  add('watched-resource', 'test://watched-resource', 'text/plain', { text: 'Watch this.' });
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  const mimeType = 'application/json';
  server.registerResource('template', template, { description: 'Data by id', mimeType }, (uri, { id }) => {
    const data = { id, templateTest: true, data: `Data for ID: ${id}` };
    return { contents: [{ uri: uri.href, mimeType, text: JSON.stringify(data) }] };
  });
}

function addPrompts(server) {
  const user = (...contents) => ({ messages: contents.map((content) => ({ role: 'user', content })) });
  const add = (name, argsSchema, handler) =>
    server.registerPrompt(name, { description: `What ${name} is about, the suite says`, argsSchema }, handler);
  add('test_simple_prompt', undefined, () => user(text('This is a simple prompt for testing.')));
  const words = (value) => ['test', 'testing', 'paris', 'park'].filter((word) => word.startsWith(value));
  const two = z.object({ arg1: completable(z.string(), words), arg2: z.string() });
  add('test_prompt_with_arguments', two, ({ arg1, arg2 }) =>
    user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  add('test_prompt_with_embedded_resource', z.object({ resourceUri: z.string() }), ({ resourceUri }) =>
    user(
      resource(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
      text('Please process the embedded resource above.'),
    ),
  );
  add('test_prompt_with_image', undefined, () => user(image, text('Please analyze the image above.')));
  add('test_input_required_result_prompt', undefined, ({ mcpReq }) => {
    const answer = acceptedContent(mcpReq.inputResponses, 'user_context', z.object({ context: z.string() }));
    const question = elicit('What context should the prompt use?', { context: { type: 'string' } });
    return answer ? user(text(`In the context of ${answer.context}`)) : asks({ user_context: question });
  });
}
