// What an application adds to the SDKs' OAuth client (both have the same interface): a memory, a callback server on a
// loopback port, and a person.

import http from 'node:http';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { authorize } from './browser.mjs';

export const person = { user: process.env.GATEWAY_USER ?? '', password: process.env.GATEWAY_PASSWORD ?? '' };
const SPOILED = 'spoiled';

export class Application {
  /** How often a person had to be asked. */
  authorizations = 0;
  /** Every access token that it ever got, the newest last. */
  bearers = [];
  /** Whether it throws refresh tokens away. */
  forgetsRefreshTokens = false;
  #server;
  #state;
  #verifier;
  #client;
  #tokens;
  #discovery;
  #callback;

  static async start() {
    const application = new Application();
    application.#server = http.createServer((request, response) => response.end('You may close this window.'));
    application.#server.listen(0, '127.0.0.1').unref();
    await once(application.#server, 'listening');
    return application;
  }

  get redirectUrl() {
    return `http://127.0.0.1:${this.#server.address().port}/callback`;
  }

  get clientMetadata() {
    return {
      client_name: 'Client under test',
      redirect_uris: [this.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() {
    return (this.#state = randomUUID());
  }

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = this.forgetsRefreshTokens ? { ...tokens, refresh_token: undefined } : tokens;
    this.bearers.push(tokens.access_token);
  }

  invalidateCredentials(which) {
    if (which === 'tokens' || which === 'all') this.#tokens = undefined;
    if (which === 'client' || which === 'all') this.#client = undefined;
  }

  codeVerifier() {
    return this.#verifier;
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  discoveryState() {
    return this.#discovery;
  }

  saveDiscoveryState(state) {
    this.#discovery = state;
  }

  async redirectToAuthorization(url) {
    const arrived = once(this.#server, 'request').then(([request]) => new URL(request.url, this.redirectUrl));
    await authorize(url, person);
    this.#callback = await arrived;
    this.authorizations += 1;
  }

  /** What the callback server was called with. */
  callback() {
    const { searchParams } = this.#callback;
    if (searchParams.get('state') !== this.#state) throw new Error('the state came back changed');
    if (!searchParams.has('code')) throw new Error(`no code: ${searchParams}`);
    return searchParams;
  }

  /** What the newest token is good for. */
  get scope() {
    return this.#tokens.scope;
  }

  /** From now on only the refresh token is good. */
  spoilAccessToken() {
    this.#tokens = { ...this.#tokens, access_token: SPOILED };
  }

  /** Whether that led to a new access token without asking the person again. */
  get refreshed() {
    return this.#tokens.access_token !== SPOILED && this.bearers.length === 2 && this.authorizations === 1;
  }
}

/** Waits until `attempt` fails with such an error, as a first connection without a token does. */
export async function refusal(attempt, kind) {
  const error = await attempt.then(
    () => new Error('connected without authorization'),
    (reason) => reason,
  );
  if (!(error instanceof kind)) throw error;
}

/** Tries again after every authorization that `attempt` leads to; `transport` gives the one that it used. */
export async function insist(application, attempt, transport) {
  for (;;) {
    const before = application.authorizations;
    try {
      return await attempt();
    } catch (error) {
      if (application.authorizations === before || before >= 10) throw error;
      await transport().finishAuth(application.callback());
    }
  }
}

/** What every driver asks of a connected client. */
export async function exercise(client) {
  const { tools } = await client.listTools();
  const whoami = await call(client, 'whoami', {});
  const echo = await call(client, 'echo', { text: 'Grüße, 世界' });
  return { tools: tools.map(({ name }) => name), whoami, echo };
}

export async function call(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
  return result.content[0].text;
}

export function report(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
