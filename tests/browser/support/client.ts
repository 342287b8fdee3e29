// An MCP client that a person lets in: registration, PKCE, the callback server of an application, and what it does with
// its token.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Answer, ask, open } from './http.ts';

export class Client {
  /** `https://<label>.gw.example/mcp` */
  readonly url: string;
  readonly id: string;
  readonly redirectUri: string;
  readonly #issuer: string;
  readonly #server: http.Server;
  readonly #verifier = randomBytes(32).toString('base64url');
  #token = '';

  private constructor(url: string, id: string, redirectUri: string, server: http.Server) {
    this.url = url;
    this.id = id;
    this.redirectUri = redirectUri;
    this.#issuer = new URL(url).origin;
    this.#server = server;
  }

  /** Registers at the hostname of an upstream. */
  static async register(url: string, metadata: object = {}): Promise<Client> {
    const server = http.createServer((_, response) => {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end('<!doctype html><html lang="en"><title>Signed in</title><p>You may close this window.</p></html>');
    });
    server.listen(0, '127.0.0.1').unref();
    await once(server, 'listening');
    const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`;
    const grants = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
    const { status, text, json } = await ask(`${new URL(url).origin}/register`, {
      body: {
        client_name: 'Test Client',
        redirect_uris: [redirectUri],
        grant_types: grants,
        token_endpoint_auth_method: 'none',
        ...metadata,
      },
    });
    if (status !== 201) throw new Error(text);
    return new Client(url, json.client_id, redirectUri, server);
  }

  /** Where the client sends the browser. */
  authorizationUrl(more: Record<string, string> = {}): string {
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: this.id,
      redirect_uri: this.redirectUri,
      code_challenge: createHash('sha256').update(this.#verifier).digest('base64url'),
      code_challenge_method: 'S256',
      state: 'a-state',
      resource: this.url,
      ...more,
    });
    return `${this.#issuer}/authorize?${query}`;
  }

  /** Exchanges the code of the address at which the browser arrived. */
  async arrive(callback: string): Promise<void> {
    const { searchParams } = new URL(callback);
    const code = searchParams.get('code');
    if (!code || searchParams.get('state') !== 'a-state') throw new Error(callback);
    const body = { grant_type: 'authorization_code', code, redirect_uri: this.redirectUri, code_verifier: this.#verifier };
    const { status, text, json } = await this.#ask('/token', body);
    if (status !== 200) throw new Error(text);
    this.#token = json.access_token;
  }

  /** Asks for a code that a person types elsewhere (RFC 8628). */
  async deviceCode(): Promise<{ device_code: string; user_code: string; verification_uri: string; verification_uri_complete: string }> {
    const { status, text, json } = await this.#ask('/device_authorization', { resource: this.url });
    if (status !== 200) throw new Error(text);
    return json;
  }

  /** The device asks for its tokens: its error, or nothing when it has them. */
  async poll(deviceCode: string): Promise<string | undefined> {
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    const { json } = await this.#ask('/token', { grant_type, device_code: deviceCode });
    this.#token = json.access_token ?? '';
    return json.error;
  }

  get authorization(): Record<string, string> {
    return { authorization: `Bearer ${this.#token}` };
  }

  /** Calls a tool as a modern client does (MCP 2026-07-28). */
  call(name: string, args: object = {}): Promise<Answer> {
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    return ask(this.url, {
      headers: {
        ...this.authorization,
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': name,
      },
      body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta } },
    });
  }

  /** An event stream that stays open: what came first, and when it ends. */
  async stream(path: string): Promise<{ first: string; ended: Promise<void> }> {
    const response = await open(new URL(path, this.url), { headers: { ...this.authorization, accept: 'text/event-stream' } });
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${(await response.toArray()).join('')}`);
    const [first] = await once(response, 'data');
    const ended = new Promise<void>((resolve) => response.once('close', resolve).resume());
    return { first: String(first), ended };
  }

  stop(): void {
    this.#server.close();
  }

  #ask(path: string, body: Record<string, string>): Promise<Answer> {
    return ask(`${this.#issuer}${path}`, { body: new URLSearchParams({ client_id: this.id, ...body }) });
  }
}
