// A broker on a real socket that does what a test tells it to, however wrong.

import { once } from 'node:events';
import http from 'node:http';

export const KEY = 'id.secret-of-the-key';
export const TOKEN = 'secret-of-the-token';
export const LINK = 'https://gw.example/auth/google?link=1';

/** Where the library is built: in `dist`, or where the environment says. */
export const LIBRARY = process.env.PORTCULLIS_CLIENT ?? new URL('../dist/index.js', import.meta.url).href;
export const library = await import(LIBRARY);

/** Answers with the next of `answers`, the last of them again and again. */
export class Broker {
  asked = [];

  static async start(...answers) {
    const broker = new Broker();
    broker.server = http.createServer(async (request, response) => {
      const body = (await request.setEncoding('utf8').toArray()).join('');
      const { method, url, headers } = request;
      broker.asked.push({ method, path: url, headers, body: body && JSON.parse(body) });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      const given = typeof answer === 'function' ? await answer() : answer;
      if (!given) return void request.socket.destroy();
      response.writeHead(given.status, { 'content-type': 'application/json', connection: 'close', ...given.headers });
      response.end(given.raw ?? JSON.stringify(given.content));
    });
    broker.server.listen(0, '127.0.0.1');
    await once(broker.server, 'listening');
    broker.url = `http://127.0.0.1:${broker.server.address().port}`;
    return broker;
  }

  client(options = {}) {
    return new library.AuthClient({ baseUrl: this.url, apiKey: KEY, pats: {}, warn: () => {}, ...options });
  }

  [Symbol.asyncDispose]() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

/** Runs `test` with a broker that gives these answers, and returns what it was asked. */
export async function withBroker(answers, test) {
  const broker = await Broker.start(...answers);
  try {
    await test(broker);
  } finally {
    await broker[Symbol.asyncDispose]();
  }
  return broker.asked;
}

export const answer = (status, content, headers = {}) => ({ status, content, headers });

export const granted = (lives = 3600, others = {}) => {
  const expires_at = lives === null ? null : Date.now() / 1000 + lives;
  return answer(200, { access_token: TOKEN, token_type: 'Bearer', expires_at, source: 'oauth', ...others });
};

export const unconnected = (auth_url = LINK) => answer(401, { error: 'authorization_required', auth_url });
