// A server that means harm: the upstream of a gateway, and beside it a sibling host that no gateway stands before.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificate.ts';

export interface Page {
  html?: string;
  script?: string;
  headers?: Record<string, string | string[]>;
}

export class Evil {
  /** Where it listens. */
  readonly port: number;
  readonly #pages: Map<string, Page>;
  readonly #server: http.Server | https.Server;

  private constructor(server: http.Server | https.Server, pages: Map<string, Page>) {
    this.#server = server;
    this.#pages = pages;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(certificate?: Certificate): Promise<Evil> {
    const pages = new Map<string, Page>();
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      const page = pages.get(new URL(request.url ?? '/', 'http://evil').pathname);
      const { html, script, headers = {} } = page ?? { html: 'nothing' };
      response.writeHead(200, { 'content-type': script ? 'text/javascript' : 'text/html', ...headers });
      response.end(script ?? `<!doctype html><html lang="en"><title>evil</title><body>${html}</body></html>`);
    };
    const server = certificate
      ? https.createServer({ cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }, answer)
      : http.createServer(answer);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Evil(server, pages);
  }

  /** From now on it answers so at a path. */
  serve(path: string, page: Page): void {
    this.#pages.set(path, page);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
