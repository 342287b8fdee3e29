// What a call through the unified endpoint costs, beside mcp-proxy, supergateway and a fastmcp proxy in the same run, over the same
// server (server-everything, 2025-11-25): added latency of a call, one at a time, and memory of a session. Prints Markdown.
// Usage: bench-unified.mjs PORTCULLIS, the program to measure. ROUNDS, CALLS and SESSIONS change how much is done.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import './localhost.mjs';

const [portcullis] = process.argv.slice(2);
const number = (name, usual) => Number(process.env[name] ?? usual);
const [ROUNDS, CALLS, SESSIONS] = [number('ROUNDS', 5), number('CALLS', 200), number('SESSIONS', 100)];
const PATIENCE = 60_000;
const VERSION = '2025-11-25';
const EVERYTHING = path.resolve('node_modules/@modelcontextprotocol/server-everything/dist/index.js');
const STDIO = ['node', EVERYTHING, 'stdio'];
const [USER, PASSWORD] = ['bench', 'a password that is long enough'];

const home = await mkdtemp(path.join(tmpdir(), 'bench-'));
const children = [];
try {
  await main();
} finally {
  for (const child of children) child.kill('SIGTERM');
  await sleep(500);
  for (const child of children) child.kill('SIGKILL');
  await rm(home, { recursive: true, force: true });
}
process.exit(0);

async function main() {
  const upstream = await start('node', ['announce.mjs', EVERYTHING, 'streamableHttp'], { PORT: '0' }, announced);
  const url = `http://127.0.0.1:${upstream.port}/mcp`;
  const gateway = await theGateway(upstream.port);
  const ports = await freePorts(4);
  const [bridge, proxy, supergateway, overHttp, overStdio] = await Promise.all([
    start(portcullis, ['bridge', '--listen', '127.0.0.1:0', '--', ...STDIO], {}, listening),
    listener(ports[0], 'node', ['node_modules/mcp-proxy/dist/bin/mcp-proxy.mjs', '--host', '127.0.0.1', '--port', ports[0], '--', ...STDIO]),
    listener(ports[1], 'node', ['node_modules/supergateway/dist/index.js', '--stdio', STDIO.join(' '), '--outputTransport', 'streamableHttp', '--stateful', '--port', ports[1], '--logLevel', 'none']),
    listener(ports[2], '.venv/bin/python', ['fastmcp_proxy.py', ports[2], url]),
    listener(ports[3], '.venv/bin/python', ['fastmcp_proxy.py', ports[3], ...STDIO]),
  ]);
  const at = ({ port, child }) => ({ url: `http://127.0.0.1:${port}/mcp`, child });
  const unified = { url: gateway.url, child: gateway.child, token: gateway.token };
  await table('a server that speaks Streamable HTTP', {
    'direct': { url },
    'Portcullis, `/mcp`': { ...unified, tool: 'http_echo' },
    'fastmcp proxy': at(overHttp),
  });
  await table('a program on standard input and output', {
    'direct': { program: STDIO },
    'Portcullis, `/mcp`': { ...unified, tool: 'stdio_echo' },
    '`portcullis bridge`': at(bridge),
    'mcp-proxy': at(proxy),
    'supergateway': at(supergateway),
    'fastmcp proxy': at(overStdio),
  });
}

/** Rounds are interleaved, so that what disturbs one target disturbs all of them. */
async function table(about, targets) {
  const clients = new Map();
  for (const [name, target] of Object.entries(targets)) clients.set(name, await connect(target));
  for (const client of clients.values()) await calls(client, CALLS);
  const times = new Map([...clients.keys()].map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, client] of clients) times.get(name).push(...(await calls(client, CALLS)));
  }
  const median = (name) => quantile(times.get(name), 0.5);
  print(`\n${about}: ${ROUNDS} rounds of ${CALLS} calls\n`);
  print('| | p50 ms | p99 ms | added p50 ms | added p99 ms | memory of a session KiB | processes of a session |');
  print('|---|---|---|---|---|---|---|');
  for (const [name, target] of Object.entries(targets)) {
    const [p50, p99] = [median(name), quantile(times.get(name), 0.99)];
    const added = name === 'direct' ? ['', ''] : [p50 - median('direct'), p99 - quantile(times.get('direct'), 0.99)].map(ms);
    const memory = target.child ? await sessions(target) : ['', ''];
    print(`| ${[name, ms(p50), ms(p99), ...added, ...memory].join(' | ')} |`);
  }
  for (const client of clients.values()) await client.close();
}

async function calls(client, count) {
  const times = [];
  for (let call = 0; call < count; call += 1) {
    const before = performance.now();
    const { result } = await client.request('tools/call', { name: client.tool, arguments: { message: `call ${call}` } });
    times.push(performance.now() - before);
    if (result?.content?.[0]?.text !== `Echo: call ${call}`) throw new Error(`${client.url}: ${JSON.stringify(result)}`);
  }
  return times;
}

/** What a session that has listed the tools and called one adds to the process itself, and how many processes it has more. */
async function sessions(target) {
  const measure = async () => [await resident(target.child.pid), await descendants(target.child.pid)];
  const before = await measure();
  const clients = [];
  for (let session = 0; session < SESSIONS; session += 1) {
    const client = await connect(target);
    await client.request('tools/list', {});
    await calls(client, 1);
    clients.push(client);
  }
  const after = await measure();
  for (const client of clients) await client.close();
  return [((after[0] - before[0]) / SESSIONS).toFixed(0), ((after[1] - before[1]) / SESSIONS).toFixed(1)];
}

async function connect(target) {
  const client = target.program ? overPipes(target.program) : overHttp(target.url, target.token);
  client.tool = target.tool ?? 'echo';
  const clientInfo = { name: 'bench', version: '1' };
  await client.request('initialize', { protocolVersion: VERSION, capabilities: {}, clientInfo });
  await client.notify('notifications/initialized');
  return client;
}

/** As little of a client as there can be: what is measured is on the other side. */
function overHttp(url, token) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  if (token) headers.authorization = `Bearer ${token}`;
  let id = 0;
  const send = (method, body) =>
    new Promise((resolve, reject) => {
      const request = http.request(url, { method, agent, headers }, async (response) => {
        const text = (await response.setEncoding('utf8').toArray()).join('');
        if (response.statusCode >= 400) return reject(new Error(`${url}: ${response.statusCode} ${text}`));
        headers['mcp-session-id'] ??= response.headers['mcp-session-id'];
        headers['mcp-session-id'] ?? delete headers['mcp-session-id'];
        const events = response.headers['content-type']?.startsWith('text/event-stream');
        return resolve(events ? text.split('\n').filter((line) => line.startsWith('data: {')).map((line) => line.slice(6)) : [text]);
      });
      request.on('error', reject).end(body && JSON.stringify(body));
    });
  return {
    url,
    async request(method, params) {
      const messages = await send('POST', { jsonrpc: '2.0', id: (id += 1), method, params });
      headers['mcp-protocol-version'] = VERSION;
      return messages.map((text) => JSON.parse(text)).find((message) => message.id === id);
    },
    notify: (method) => send('POST', { jsonrpc: '2.0', method }),
    async close() {
      if (headers['mcp-session-id']) await send('DELETE').catch(() => {});
      agent.destroy();
    },
  };
}

function overPipes([command, ...args]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const waiting = new Map();
  createInterface(child.stdout).on('line', (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
  });
  let id = 0;
  const write = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  return {
    url: command,
    request: (method, params) =>
      new Promise((resolve) => {
        waiting.set((id += 1), resolve);
        write({ id, method, params });
      }),
    notify: (method) => write({ method }),
    close: () => child.kill(),
  };
}

/** With somebody who has signed in: a client of the official SDK does that. */
async function theGateway(upstream) {
  const plenty = '"100000/s burst 100000"';
  const file = path.join(home, 'portcullis.toml');
  const limits = ['per_ip', 'per_user', 'per_client', 'per_user_upstream'].map((name) => `${name} = ${plenty}`);
  const command = JSON.stringify(STDIO);
  await writeFile(
    file,
    `[upstreams]\nallow_private = true\n[limits]\n${limits.join('\n')}\n
[[upstream]]\ndomain = "127.0.0.1:${upstream}"\nalias = "http"\npath = "/mcp"\nauth = "none"\n
[[upstream]]\ncommand = ${command}\nalias = "stdio"\n`,
  );
  const adding = run(portcullis, ['-c', file, 'user', 'add', USER, '--admin', '--password-stdin'], {}, 'pipe');
  adding.stdin.end(`${PASSWORD}\n`);
  const [status] = await once(adding, 'close');
  if (status !== 0) throw new Error(`user add: ${status}`);
  const { child, port } = await start(portcullis, ['-c', file, 'serve'], {}, listening);
  const url = `http://localhost:${port}/mcp`;
  return { child, url, token: await token(url) };
}

async function token(url) {
  Object.assign(process.env, { GATEWAY_USER: USER, GATEWAY_PASSWORD: PASSWORD });
  const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await import('@modelcontextprotocol/client');
  const { Application, refusal } = await import('./provider.mjs');
  const application = await Application.start();
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: application });
  await refusal(new Client({ name: 'bench', version: '1' }).connect(transport), UnauthorizedError);
  await transport.finishAuth(application.callback());
  return application.tokens().access_token;
}

function run(program, args, environment, input = 'ignore') {
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    XDG_STATE_HOME: home,
    TMPDIR: home,
    PORTCULLIS__SERVER__LISTEN: '127.0.0.1:0',
    PORTCULLIS__SERVER__ADMIN_LISTEN: '',
    ...environment,
  };
  const child = spawn(program, args.map(String), { env, stdio: [input, 'pipe', process.env.DEBUG ? 'inherit' : 'ignore'] });
  children.push(child);
  return child;
}

/** A program that says where it listens. */
function start(program, args, environment, portOf) {
  const child = run(program, args, environment);
  return new Promise((resolve, reject) => {
    const give = (why) => reject(new Error(`${program} ${args.join(' ')} ${why}`));
    const late = setTimeout(give, PATIENCE, 'says no address');
    createInterface(child.stdout)
      .on('line', (line) => {
        const port = portOf(line);
        if (port) clearTimeout(late) ?? resolve({ child, port });
      })
      .on('close', () => give('ended'));
  });
}

function announced(line) {
  return line.startsWith('{"port"') ? JSON.parse(line).port : undefined;
}

function listening(line) {
  return /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
}

/** A program that was told where to listen. */
async function listener(port, program, args) {
  const child = run(program, args, {});
  for (const began = Date.now(); Date.now() - began < PATIENCE; await sleep(100)) {
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('connect', () => resolve(true) ?? socket.destroy()).on('error', () => resolve(false));
    });
    if (open) return { child, port };
  }
  throw new Error(`${args.join(' ')} does not listen`);
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) server.close();
  return ports;
}

async function resident(pid) {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'));
  return Number(kib);
}

async function descendants(pid) {
  const parents = new Map();
  for (const entry of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const below = (parent) => [...parents].filter(([, of]) => of === parent).flatMap(([child]) => [child, ...below(child)]);
  return below(pid).length;
}

function quantile(times, part) {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

function ms(value) {
  return value.toFixed(2);
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
