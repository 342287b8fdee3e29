// A service of the token broker: the npm package `oidc-provider`, set up to behave like Google or like GitHub. What it cannot
// be told to do is done to its requests and answers on the way (`shim`), and nothing else is. Prints its issuer as one line of
// JSON, takes a line of JSON for every change, answers with what it has counted, and ends when its standard input does.

import http from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// oidc-provider tells on standard output that it is in a development set-up; that belongs to the line below.
console.info = console.error;

const shape = process.argv[2];
const server = http.createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const counted = { codes: 0, refreshes: 0, asked: 0 };
/** Grants for which Google gives a refresh token: those of requests for offline access with a consent page. */
const offline = new Set();
let settings = { clients: [], withheld: [], down: false };
let provider = make();

server.on('request', (request, response) => {
  if (settings.down) return response.writeHead(503).end();
  if (request.url.startsWith('/interaction/')) return interaction(request, response);
  if (request.url === '/whoami') return whoami(request, response);
  if (shape === 'github' && request.url.startsWith('/applications/')) return endGrant(request, response);
  if (shape === 'github' && request.url === '/token') return likeGitHub(request, response);
  if (shape === 'google' && request.url === '/token/revocation') identify(request);
  return provider.callback()(request, response);
});
process.stdout.write(`${JSON.stringify({ issuer })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { clients, ...others } = JSON.parse(line);
  settings = { ...settings, ...others };
  if (clients) {
    settings.clients = clients;
    provider = make();
  }
  process.stdout.write(`${JSON.stringify(counted)}\n`);
}
process.exit(0);

function make() {
  const provider = new Provider(issuer, {
    cookies: { keys: ['only for tests'] },
    clients: settings.clients,
    scopes: ['openid', 'email', 'calendar', 'drive', 'repo', 'read:user', 'offline_access'],
    claims: { openid: ['sub'], email: ['email'] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@provider.example` }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    extraParams: ['access_type'],
    // Google: once, when it was asked for offline access and showed the page. GitHub: never.
    issueRefreshToken: (_ctx, _client, code) => shape === 'google' && offline.has(code.grantId),
    rotateRefreshToken: false,
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    ttl: { AccessToken: 3600, Grant: 86400, Interaction: 600, Session: 86400, IdToken: 3600, RefreshToken: 86400 },
  });
  provider.on('grant.success', (ctx) => {
    counted[ctx.oidc.params.grant_type === 'refresh_token' ? 'refreshes' : 'codes'] += 1;
  });
  return provider;
}

/** One button to be the account that there is, another one to consent; or to refuse. */
async function interaction(request, response) {
  try {
    const details = await provider.interactionDetails(request, response);
    if (request.method !== 'POST') {
      if (details.prompt.name === 'consent') counted.asked += 1;
      response.setHeader('content-type', 'text/html; charset=utf-8');
      return response.end(`<title>${details.prompt.name} at the provider</title><form method="post">
        <button name="decision" value="approve">Go on</button><button name="decision" value="deny">Cancel</button></form>`);
    }
    const form = new URLSearchParams((await request.setEncoding('utf8').toArray()).join(''));
    if (form.get('decision') === 'deny') return await finish(request, response, { error: 'access_denied' });
    if (details.prompt.name === 'login') return await finish(request, response, { login: { accountId: 'ada' } });
    return await finish(request, response, { consent: { grantId: await consent(details) } });
  } catch (error) {
    response.statusCode = 400;
    return response.end(String(error));
  }
}

async function consent({ params, session, grantId }) {
  const fresh = () => new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const grant = grantId ? await provider.Grant.find(grantId) : fresh();
  for (const scope of params.scope.split(' ')) {
    if (settings.withheld.includes(scope)) grant.rejectOIDCScope(scope);
    else grant.addOIDCScope(scope);
  }
  const id = await grant.save();
  if (params.access_type === 'offline' && params.prompt?.split(' ').includes('consent')) offline.add(id);
  return id;
}

function finish(request, response, result) {
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

/** Who a token is good for, if it is. */
async function whoami(request, response) {
  const token = await provider.AccessToken.find((request.headers.authorization ?? '').replace('Bearer ', ''));
  const grant = token && (await provider.Grant.find(token.grantId));
  response.writeHead(grant ? 200 : 401, { 'content-type': 'application/json' });
  response.end(JSON.stringify(grant ? { sub: token.accountId, scope: token.scope } : {}));
}

/** Google's revocation endpoint wants a token and nothing else (shim). */
function identify(request) {
  const { client_id, client_secret } = settings.clients[0];
  const basic = [client_id, client_secret].map(encodeURIComponent).join(':');
  request.headers.authorization ??= `Basic ${Buffer.from(basic).toString('base64')}`;
}

/** GitHub's token endpoint: a form, scopes with commas, no expiry, errors with status 200 (shim). */
function likeGitHub(request, response) {
  const { writeHead, end } = response;
  const headers = {};
  response.setHeader = (name, value) => ((headers[name.toLowerCase()] = value), response);
  response.writeHead = (status) => ((response.statusCode = status), response);
  response.end = (body) => {
    const { error, error_description, access_token, token_type, scope } = JSON.parse(body);
    const answer = error ? { error, error_description } : { access_token, token_type: token_type.toLowerCase(), scope: scope.replaceAll(' ', ',') };
    Object.assign(response, { writeHead, end });
    delete response.setHeader;
    response.writeHead(200, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' });
    return response.end(new URLSearchParams(answer).toString());
  };
  return provider.callback()(request, response);
}

/** `DELETE /applications/{client_id}/grant` of GitHub (shim). */
async function endGrant(request, response) {
  const { client_id, client_secret } = settings.clients[0];
  const basic = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`;
  const { access_token } = JSON.parse((await request.setEncoding('utf8').toArray()).join(''));
  const ours = request.method === 'DELETE' && request.url === `/applications/${client_id}/grant`;
  const token = await provider.AccessToken.find(access_token);
  if (!ours || request.headers.authorization !== basic || !token) return response.writeHead(404).end();
  await provider.Grant.adapter.destroy(token.grantId);
  await provider.AccessToken.revokeByGrantId(token.grantId);
  return response.writeHead(204).end();
}
