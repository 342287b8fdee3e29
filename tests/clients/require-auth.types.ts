// Compiled and never run: what `requireAuth` takes and gives fits both versions of the official SDK without a cast.

import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpServer } from '@modelcontextprotocol/server';
import { AuthClient, type Caller, forwardedUser, requireAuth, type ServiceToken } from 'portcullis-client';
import { z } from 'zod';

const client = new AuthClient({ baseUrl: 'https://gw.example', apiKey: 'id.secret' });
const identity = { name: 'files', version: '1.0.0' };

const v1 = new McpServerV1(identity);
v1.registerTool(
  'list_files',
  { inputSchema: { folder: z.string() } },
  requireAuth(client, { provider: 'google', server: v1 }, (token: ServiceToken, { folder }, extra) => ({
    content: [{ type: 'text', text: folder.trim() + token.source + extra.requestId }],
  })),
);
v1.registerTool(
  'whoami',
  {},
  requireAuth(client, { provider: 'google', user: forwardedUser, server: v1 }, async (token) => ({
    content: [{ type: 'text', text: token.user }],
  })),
);

const v2 = new McpServer(identity);
const who = async (caller: Caller) => ({ email: String(caller.claims['email']) });
v2.registerTool(
  'list_files',
  { inputSchema: z.object({ folder: z.string() }) },
  requireAuth(client, { provider: 'google', user: who, server: v2 }, async (token, { folder }, context) => ({
    content: [{ type: 'text', text: folder.trim() + token.source + context.mcpReq.id }],
  })),
);
v2.registerTool(
  'whoami',
  {},
  requireAuth(client, { provider: 'google', server: v2 }, (token) => ({ content: [{ type: 'text', text: token.user }] })),
);
