// The broker's HTTP interface: what is sent, what the answers mean, when asking again is safe. No I/O.

import {
  AuthorizationRequired,
  KeyRefused,
  NotAllowed,
  type PortcullisError,
  ProviderTrouble,
  RateLimited,
  RequestRefused,
  ServiceUnknown,
  UnexpectedAnswer,
} from './errors.ts';
import { parsed } from './settings.ts';
import { type Key, ServiceToken } from './token.ts';

/** Octets of an answer that are read. */
export const MAX_ANSWER: number = 64 * 1024;

export interface Request {
  readonly method: 'POST' | 'DELETE';
  readonly path: string;
  readonly key: Key;
}

export function tokenRequest(key: Key): Request {
  return { method: 'POST', path: '/auth/token', key };
}

export function linkRequest(key: Key): Request {
  return { method: 'POST', path: '/auth/init', key };
}

export function disconnectRequest(key: Key): Request {
  return { method: 'DELETE', path: '/auth/revoke', key };
}

export function bodyOf({ key }: Request): string {
  const who = typeof key.person === 'string' ? { user_id: key.person } : { user_email: key.person.email };
  return JSON.stringify({ service: key.service, ...who, ...(key.scope && { scope: key.scope }) });
}

/** A response, read whole. */
export class Answer {
  readonly origin: string;
  readonly status: number;
  readonly headers: Headers;
  readonly #content: Readonly<Record<string, unknown>>;

  constructor(origin: string, status: number, headers: Headers, body: string) {
    this.origin = origin;
    this.status = status;
    this.headers = headers;
    this.#content = objectOf(body);
  }

  /** Seconds (RFC 9110, section 10.2.3). */
  retryAfter(): number | undefined {
    const value = this.headers.get('retry-after')?.trim() ?? '';
    if (/^\d+$/.test(value)) return Number(value);
    const until = Date.parse(value);
    return Number.isNaN(until) ? undefined : Math.max(0, (until - this.date()) / 1000);
  }

  /** The time at the server when it answered, in milliseconds. */
  date(): number {
    return Date.parse(this.headers.get('date') ?? '') || Date.now();
  }

  member(name: string): unknown {
    return this.#content[name];
  }

  text(name: string): string {
    const value = this.member(name);
    return typeof value === 'string' ? value : '';
  }
}

/** The token of an answer, and for how many seconds it still lives. */
export function granted(request: Request, answer: Answer): { token: ServiceToken; lifetime: number | undefined } {
  if (answer.status !== 200) throw failure(request, answer);
  const wrong = (what: string) => new UnexpectedAnswer(answer.origin, answer.status, what);
  const [secret, tokenType] = [answer.text('access_token'), answer.text('token_type') || 'Bearer'];
  if (!isPrintable(secret)) throw wrong('it has no access_token');
  if (!isPrintable(tokenType)) throw wrong('its token_type is none');
  const expiry = answer.member('expires_at');
  const expiresAt = momentOf(expiry);
  if (expiry !== undefined && expiry !== null && !expiresAt) throw wrong('its expires_at is no time');
  const source = answer.member('source') === 'pat' ? 'pat' : 'oauth';
  const token = new ServiceToken(request.key, secret, { tokenType, expiresAt, scope: answer.text('scope'), source });
  // By the broker's clock, so that ours need not be right.
  const expiresIn = answer.member('expires_in');
  if (typeof expiresIn === 'number') return { token, lifetime: expiresIn };
  return { token, lifetime: expiresAt && (expiresAt.getTime() - answer.date()) / 1000 };
}

/** The link of an answer, and for how many seconds it is good, if it ends. */
export function link(request: Request, answer: Answer): { url: string; expiresIn: number | undefined } {
  if (answer.status !== 200) throw failure(request, answer);
  const [url, expiresIn] = [webUrl(answer.text('auth_url')), answer.member('expires_in')];
  if (!url) throw new UnexpectedAnswer(answer.origin, answer.status, 'it has no auth_url');
  return { url, expiresIn: typeof expiresIn === 'number' ? expiresIn : undefined };
}

export function disconnected(request: Request, answer: Answer): void {
  if (answer.status !== 200 && answer.status !== 204) throw failure(request, answer);
}

/** When to ask again. Every request of this interface may be repeated: none changes anything by being sent twice. */
export class Retries {
  #attempts = 3;
  /** Seconds of waiting in all. */
  #patience = 5;

  /** Seconds to wait before the next attempt; `undefined`: do not. `answer`: `undefined` when none came. */
  pause(answer: Answer | undefined): number | undefined {
    if (answer && ![502, 503, 504].includes(answer.status)) return undefined;
    const pause = answer?.retryAfter() ?? 0.25;
    this.#attempts -= 1;
    if (this.#attempts <= 0 || pause > this.#patience) return undefined;
    this.#patience -= pause;
    return pause;
  }
}

/** What an answer means that is no success. */
function failure({ key }: Request, answer: Answer): PortcullisError {
  const { service, user } = key;
  const reason = answer.text('error_description') || answer.text('error');
  const url = webUrl(answer.text('auth_url'));
  if (answer.status === 401 && answer.text('error') === 'authorization_required' && url) {
    return new AuthorizationRequired(service, user, url);
  }
  // The broker's own trouble: its log says more.
  if (answer.status === 500 && answer.text('error')) return new ProviderTrouble(service, undefined);
  switch (answer.status) {
    case 400:
    case 422:
      return new RequestRefused(reason);
    case 401:
      return new KeyRefused();
    case 403:
      return new NotAllowed(service, user, reason);
    case 404:
      return new ServiceUnknown(service, reason);
    case 429:
      return new RateLimited(answer.retryAfter());
    case 502:
    case 503:
    case 504:
      return new ProviderTrouble(service, answer.retryAfter());
    default:
      return new UnexpectedAnswer(answer.origin, answer.status, reason || 'no reason given');
  }
}

/** `text` if it is an address that a person may be sent to, or nothing. */
function webUrl(text: string): string {
  return isPrintable(text) && /^https?:$/.test(parsed(text)?.protocol ?? '') ? text : '';
}

/** A time as seconds since 1970 or as in RFC 3339. */
function momentOf(value: unknown): Date | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined;
  const date = new Date(typeof value === 'number' ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function isPrintable(text: string): boolean {
  return /^[ -~]+$/.test(text);
}

function objectOf(body: string): Readonly<Record<string, unknown>> {
  try {
    const content: unknown = JSON.parse(body);
    if (typeof content === 'object' && content !== null) return content as Record<string, unknown>;
  } catch {
    // Told by the status, or by what is missing.
  }
  return {};
}
