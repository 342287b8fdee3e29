// An upstream that the project did not write: an MCP server of the official SDK (both protocol eras), protected by the
// npm package `oidc-provider`. Prints one line of JSON when it is ready, and ends when its standard input does.

import { randomBytes, generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import { once } from 'node:events';
import Provider, { errors } from 'oidc-provider';
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, OAuthError, OAuthErrorCode, createMcpHandler, requireBearerAuth } from '@modelcontextprotocol/server';
import { z } from 'zod';

/** Who signs in at this authorization server: nobody that the gateway knows. */
const SUBJECT = 'carol';
const SCOPE = 'mcp';

// oidc-provider tells on standard output that it is in a development set-up; that belongs to the line below.
console.info = console.error;

const [authorization, resource] = await Promise.all([listen(), listen()]);
const issuer = authorization.origin;
const mcp = `${resource.origin}/mcp`;
const provider = authorizationServer();
const seen = [];
authorization.server.on('request', interactions(provider.callback()));
resource.server.on('request', resourceServer());
process.stdout.write(`${JSON.stringify({ mcp, issuer })}\n`);
process.stdin.resume().on('end', () => process.exit(0));

async function listen() {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

function authorizationServer() {
  // RS256 is what a client gets that registers without naming an algorithm: with no such key, registration fails.
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...key, kid: 'test', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    scopes: ['openid', 'offline_access', SCOPE],
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    // The default wants `offline_access`, which most MCP clients do not ask for.
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, Grant: 86400, Interaction: 600, RefreshToken: 86400, Session: 86400 },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => mcp,
        // A refresh need not repeat `resource`.
        useGrantedResource: () => true,
        getResourceServerInfo(_ctx, indicator) {
          if (indicator !== mcp) throw new errors.InvalidTarget(`the resource is ${mcp}`);
          return { scope: SCOPE, audience: mcp, accessTokenFormat: 'opaque', accessTokenTTL: 3600 };
        },
      },
    },
  });
  // A request without `scope` would be refused: RFC 6749 §3.3 lets the server have a default instead.
  provider.use((ctx, next) => {
    if (ctx.path === '/auth' && !ctx.query.scope) ctx.query = { ...ctx.query, scope: SCOPE };
    return next();
  });
  return provider;
}

/** The pages for sign-in and consent: one button. */
function interactions(otherwise) {
  return async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return otherwise(request, response);
    try {
      const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
      if (request.method !== 'POST') {
        response.setHeader('content-type', 'text/html; charset=utf-8');
        return response.end(`<title>${prompt.name}</title><form method="post">
          <button name="decision" value="approve">Allow</button><button name="decision" value="deny">Refuse</button></form>`);
      }
      const decision = new URLSearchParams((await request.setEncoding('utf8').toArray()).join('')).get('decision');
      const result = decision === 'approve' ? await approved(prompt, params, session, grantId) : { error: 'access_denied' };
      return await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
    } catch (error) {
      response.statusCode = 400;
      return response.end(String(error));
    }
  };
}

async function approved(prompt, { client_id: clientId }, session, grantId) {
  if (prompt.name === 'login') return { login: { accountId: SUBJECT } };
  const accountId = session.accountId;
  const grant = (grantId && (await provider.Grant.find(grantId))) || new provider.Grant({ accountId, clientId });
  // A scope that clients may register with counts as the provider's own, too.
  grant.addOIDCScope(`openid offline_access ${SCOPE}`);
  grant.addResourceScope(mcp, SCOPE);
  return { consent: { grantId: await grant.save() } };
}

function resourceServer() {
  const metadata = `${resource.origin}/.well-known/oauth-protected-resource/mcp`;
  const gate = requireBearerAuth({
    verifier: { verifyAccessToken },
    requiredScopes: [SCOPE],
    resourceMetadataUrl: metadata,
    expectedResource: new URL(mcp),
  });
  const handler = createMcpHandler(mcpServer);
  const fetch = async (request) => {
    const url = new URL(request.url);
    if (url.pathname === new URL(metadata).pathname) {
      return Response.json({ resource: mcp, authorization_servers: [issuer], scopes_supported: [SCOPE] });
    }
    if (url.pathname === '/seen') return Response.json(seen);
    if (!['/mcp', '/stream'].includes(url.pathname)) return new Response('not found', { status: 404 });
    const bearer = /^Bearer (.*)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
    if (bearer) seen.push(bearer);
    const authInfo = await gate(request);
    if (authInfo instanceof Response) return authInfo;
    return url.pathname === '/stream' ? endless() : handler.fetch(request, { authInfo });
  };
  const [host, origin, node] = [localhostHostValidation(), localhostOriginValidation(), toNodeHandler({ fetch })];
  return (request, response) => host(request, response) && origin(request, response) && node(request, response);
}

/** An event stream that somebody else has to end. */
function endless() {
  const body = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode('data: begun\n\n')) });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}

async function verifyAccessToken(token) {
  const found = await provider.AccessToken.find(token);
  if (!found?.isValid) throw new OAuthError(OAuthErrorCode.InvalidToken, 'unknown or expired');
  const { clientId, scope = '', exp, aud, accountId } = found;
  return { token, clientId, scopes: scope.split(' '), expiresAt: exp, resource: new URL(aud), extra: { sub: accountId } };
}

function mcpServer({ authInfo }) {
  const server = new McpServer({ name: 'upstream', version: '1.0.0' });
  const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
  server.registerTool('whoami', { description: 'Whose token this is' }, () => text(authInfo.extra.sub));
  server.registerTool('echo', { description: 'Says it again', inputSchema: z.object({ text: z.string() }) }, (input) =>
    text(input.text),
  );
  server.registerTool(
    'add',
    { description: 'Adds two numbers', inputSchema: z.object({ a: z.number(), b: z.number() }) },
    ({ a, b }) => text(a + b),
  );
  return server;
}
