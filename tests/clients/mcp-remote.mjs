// mcp-remote, the bridge from stdio clients to remote servers. Usage: mcp-remote.mjs MCP-URL
//
// The URL has to be https, or on 127.0.0.1 or `localhost` itself: this version sends no credentials over plain HTTP to
// a token endpoint at a name below `localhost`, whatever its options. Trust for a test's certificate comes from
// NODE_EXTRA_CA_CERTS.

import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { authorize } from './browser.mjs';
import { exercise, person, report } from './provider.mjs';

const state = await mkdtemp(path.join(tmpdir(), 'mcp-remote-'));
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [fileURLToPath(import.meta.resolve('mcp-remote/dist/proxy.js')), process.argv[2]],
  env: {
    PATH: process.env.PATH,
    HOME: state,
    NODE_EXTRA_CA_CERTS: process.env.NODE_EXTRA_CA_CERTS ?? '',
    MCP_REMOTE_CONFIG_DIR: state,
    NODE_OPTIONS: `--import ${new URL('localhost.mjs', import.meta.url)}`,
    // It opens a browser, whatever happens; `true` is one that shows nothing.
    BROWSER: 'true',
  },
  stderr: 'pipe',
});
createInterface(transport.stderr).on('line', (line) => {
  console.error(line);
  if (!/^https?:\/\/\S+[?&]code_challenge=\S+$/.test(line)) return;
  authorize(line, person).catch((error) => {
    console.error(error);
    process.exit(1);
  });
});

const client = new Client({ name: 'stdio', version: '1.0.0' });
try {
  await client.connect(transport);
  report({ ...(await exercise(client)), bearers: await bearers() });
} finally {
  await client.close();
  await rm(state, { recursive: true, force: true });
}
process.exit(0);

/** The access tokens that it keeps in its directory. */
async function bearers() {
  const files = await readdir(state, { recursive: true });
  const tokens = files.filter((name) => name.endsWith('tokens.json')).map((name) => readFile(path.join(state, name), 'utf8'));
  return (await Promise.all(tokens)).map((text) => JSON.parse(text).access_token);
}
