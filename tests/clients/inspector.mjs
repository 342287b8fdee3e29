// The Inspector's command line at the unified endpoint, once for each method: the first run signs in, the others find its
// tokens. It needs the Node of tests/conformance. Usage: PLAN=… inspector.mjs MCP-URL

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { authorize } from './browser.mjs';
import { person, report } from './provider.mjs';
import { survey } from './survey.mjs';

const [url, era = 'auto'] = process.argv.slice(2);
const modules = new URL('../conformance/node_modules/', import.meta.url);
const program = fileURLToPath(new URL('@modelcontextprotocol/inspector/clients/launcher/build/index.js', modules));
const home = await mkdtemp(path.join(tmpdir(), 'inspector-'));
const callback = `http://127.0.0.1:${await freePort()}/oauth/callback`;
let runs = 0;
let before = Promise.resolve();

try {
  await inspect('tools/list');
  // What the SDKs' clients have, in the words of the command line.
  const pages = (method) => () => inspect(method);
  const told = await survey({
    listTools: pages('tools/list'),
    listPrompts: pages('prompts/list'),
    listResources: pages('resources/list'),
    listResourceTemplates: pages('resources/templates/list'),
    callTool: ({ name, arguments: args }) =>
      inspect('tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args)),
    readResource: ({ uri }) => inspect('resources/read', '--uri', uri),
    getPrompt: ({ name, arguments: args }) =>
      inspect('prompts/get', '--prompt-name', name, ...pairs('--prompt-args', args)),
  });
  report(told);
} finally {
  await rm(home, { recursive: true, force: true });
}
process.exit(0);

/** One run after the other: they share a file with their secrets. */
function inspect(...what) {
  return (before = before.then(() => run(...what)));
}

async function run(method, ...rest) {
  const output = path.join(home, `result-${(runs += 1)}`);
  const options = ['--cli', url, '--transport', 'http', '--protocol-era', era, '--callback-url', callback, '--output', output];
  const child = spawn(
    fileURLToPath(new URL('node/bin/node', modules)),
    ['--import', new URL('localhost.mjs', import.meta.url).href, program, ...options, '--method', method, ...rest],
    { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const signedIn = [];
  const lines = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      lines.push(line);
      const [address] = /https?:\/\/\S+[?&]code_challenge=\S+/.exec(line) ?? [];
      if (address) signedIn.push(authorize(address, person));
    });
  }
  const [status] = await once(child, 'close');
  await Promise.all(signedIn);
  if (status !== 0) throw new Error(`${method} ${rest.join(' ')}: status ${status}\n${lines.join('\n')}`);
  return JSON.parse(await readFile(output, 'utf8'));
}

function environment() {
  return {
    PATH: process.env.PATH,
    HOME: home,
    NODE_OPTIONS: `--import ${new URL('localhost.mjs', import.meta.url)}`,
    // Without a terminal it signs in only if it may open a browser: `true` is one that shows nothing.
    MCP_AUTO_OPEN_ENABLED: 'true',
    BROWSER: 'true',
    MCP_INSPECTOR_SECRET_STORE: 'file',
    MCP_INSPECTOR_SECRET_KEY: 'only for this test, and for nothing else',
  };
}

function pairs(option, args) {
  return Object.entries(args).flatMap(([key, value]) => [option, `${key}=${value}`]);
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}
