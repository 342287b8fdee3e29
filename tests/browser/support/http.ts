// Requests of programs: no cookies, no redirects, and every test name is this machine.

import http, { type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import type { LookupFunction } from 'node:net';

export interface Question {
  method?: string;
  headers?: Record<string, string>;
  body?: string | URLSearchParams | object;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The body as JSON. */
  json: any;
}

/** Asks, and reads the answer to its end. */
export async function ask(url: string | URL, question: Question = {}): Promise<Answer> {
  const response = await open(url, question);
  const text = (await response.setEncoding('utf8').toArray()).join('');
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    get json() {
      return JSON.parse(text);
    },
  };
}

/** Asks, and gives the answer as soon as it begins. */
export async function open(url: string | URL, { method, headers = {}, body }: Question): Promise<IncomingMessage> {
  const [content, type] = encoded(body);
  const options: RequestOptions = {
    agent: false,
    lookup: loopback,
    method: method ?? (content === undefined ? 'GET' : 'POST'),
    headers: { ...(type && { 'content-type': type }), ...headers },
  };
  const target = new URL(url);
  // The certificate is one of this run, and who it belongs to is what Chromium looks at.
  const request =
    target.protocol === 'https:' ? https.request(target, { ...options, rejectUnauthorized: false }) : http.request(target, options);
  request.end(content);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

function encoded(body: Question['body']): [string | undefined, string | undefined] {
  if (body === undefined || typeof body === 'string') return [body, undefined];
  if (body instanceof URLSearchParams) return [body.toString(), 'application/x-www-form-urlencoded'];
  return [JSON.stringify(body), 'application/json'];
}

const loopback: LookupFunction = (_hostname, options, callback) => {
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
};
