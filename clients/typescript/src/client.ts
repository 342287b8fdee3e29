// The client of the broker.

import { CLOCKS, type Clocks, TokenCache } from './cache.ts';
import {
  Answer,
  bodyOf,
  disconnected,
  disconnectRequest,
  granted,
  link,
  linkRequest,
  MAX_ANSWER,
  type Request,
  Retries,
  tokenRequest,
} from './contract.ts';
import { AuthorizationRequired, BrokerUnreachable, ProviderTrouble } from './errors.ts';
import { apiKey, baseUrl, type Pats, personalTokens } from './settings.ts';
import { Key, type Person, ServiceToken } from './token.ts';

/** How a client is made. Whatever is not given comes from the environment, or has a default. */
export interface ClientOptions {
  /** The root of the gateway; default: `PORTCULLIS_URL`. */
  baseUrl?: string;
  /** `id.secret`; default: `PORTCULLIS_API_KEY`, or the content of the file `PORTCULLIS_API_KEY_FILE`. */
  apiKey?: string;
  /**
   * Personal access tokens by service, for when the broker cannot be reached or has no connection; they serve everybody
   * who calls. Default: `PORTCULLIS_PAT_<SERVICE>` of the environment; `{}`: none.
   */
  pats?: Readonly<Record<string, string>>;
  /** Speak plain HTTP with a host that is not this one. */
  allowHttp?: boolean;
  /** Tokens that are kept; default: 1,000. */
  capacity?: number;
  /** Seconds that one attempt may take; default: 30. Behind an answer there may be the provider's. */
  timeout?: number;
  /** Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** Where time comes from; for tests. */
  clocks?: Clocks;
  /** Gets warnings; default: `console.warn`. */
  warn?: (text: string) => void;
}

/** What a token must be good for. */
export interface TokenOptions {
  scope?: string | readonly string[];
}

/**
 * Where a person connects a service. For that person only, once, within `expiresIn` seconds; `undefined`: the page on
 * which everybody leaves their personal access tokens.
 */
export interface AuthLink {
  readonly url: string;
  readonly expiresIn: number | undefined;
}

/** A token on its way. */
interface Flight {
  readonly key: Key;
  readonly token: Promise<ServiceToken>;
}

/**
 * Asks a Portcullis for tokens of services on behalf of people. Tokens are kept in memory until a minute before they
 * expire, and simultaneous calls for the same token make one request. Make one client and share it.
 */
export class AuthClient {
  readonly #origin: string;
  readonly #apiKey: () => string | Promise<string>;
  readonly #pats: Pats;
  readonly #cache: TokenCache;
  readonly #timeout: number;
  readonly #fetch: typeof globalThis.fetch;
  readonly #warn: (text: string) => void;
  readonly #warned: Set<string> = new Set();
  readonly #flights: Map<string, Flight> = new Map();

  /** @throws ConfigurationError */
  constructor(options: ClientOptions = {}) {
    this.#origin = baseUrl(options.baseUrl, options.allowHttp ?? false);
    this.#apiKey = apiKey(options.apiKey);
    this.#pats = personalTokens(options.pats);
    this.#cache = new TokenCache(options.capacity ?? 1000, options.clocks ?? CLOCKS);
    this.#timeout = options.timeout ?? 30;
    // Called as a function of nothing, as some implementations insist.
    const { fetch = globalThis.fetch } = options;
    this.#fetch = (input, init) => fetch(input, init);
    this.#warn = options.warn ?? ((text) => console.warn(text));
  }

  /**
   * A token that is good for at least the next minute, unless the provider's live shorter.
   *
   * @throws AuthorizationRequired when the person must connect the service first; NotAllowed, ServiceUnknown,
   * ProviderTrouble, RateLimited, KeyRefused, RequestRefused, BrokerUnreachable, UnexpectedAnswer.
   */
  async token(service: string, user: Person, { scope }: TokenOptions = {}): Promise<ServiceToken> {
    const key = new Key(service, user, scope);
    const kept = this.#cache.get(key);
    if (kept) return kept;
    const under = this.#flights.get(key.text);
    if (under) return under.token;
    const isWanted = (): boolean => this.#flights.get(key.text) === flight;
    const flight: Flight = { key, token: this.#request(key, isWanted) };
    this.#flights.set(key.text, flight);
    try {
      return await flight.token;
    } finally {
      if (isWanted()) this.#flights.delete(key.text);
    }
  }

  /** A link with which the person connects the service. @throws what `token` does, but AuthorizationRequired */
  async authUrl(service: string, user: Person, { scope }: TokenOptions = {}): Promise<AuthLink> {
    const request = linkRequest(new Key(service, user, scope));
    return link(request, await this.#exchange(request));
  }

  /** Ends the person's connection, at the provider too where that is possible. @throws what `authUrl` does */
  async disconnect(service: string, user: Person): Promise<void> {
    const request = disconnectRequest(new Key(service, user));
    this.#forget(request.key);
    disconnected(request, await this.#exchange(request));
    // What was under way meanwhile is not kept either.
    this.#forget(request.key);
  }

  /** Forgets a token, because the service has refused it. */
  invalidate(token: ServiceToken): void {
    this.#cache.drop(token);
  }

  async #request(key: Key, isWanted: () => boolean): Promise<ServiceToken> {
    const request = tokenRequest(key);
    try {
      const { token, lifetime } = granted(request, await this.#exchange(request));
      // One that was forgotten while it was on its way is not kept.
      if (isWanted()) this.#cache.put(token, lifetime);
      return token;
    } catch (error) {
      const pat = mayBeReplaced(error) ? this.#pats(key.service) : undefined;
      if (!pat) throw error;
      this.#tellOfPat(key.service, error as Error);
      // Not kept, so that a connection counts from the next call on.
      return new ServiceToken(key, pat, { source: 'environment' });
    }
  }

  async #exchange(request: Request): Promise<Answer> {
    const retries = new Retries();
    for (;;) {
      const outcome = await this.#send(request);
      const answer = outcome instanceof Answer ? outcome : undefined;
      const pause = outcome === 'TimeoutError' ? undefined : retries.pause(answer);
      if (pause === undefined) {
        if (answer) return answer;
        throw new BrokerUnreachable(this.#origin, outcome as string);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
    }
  }

  /** The answer, or why there is none. */
  async #send(request: Request): Promise<Answer | string> {
    const headers = {
      Accept: 'application/json',
      // The header that HTTP libraries, proxies and error reporters know to hide.
      Authorization: `Bearer ${await this.#apiKey()}`,
      'Content-Type': 'application/json',
    };
    try {
      const response = await this.#fetch(this.#origin + request.path, {
        method: request.method,
        headers,
        body: bodyOf(request),
        redirect: 'manual',
        signal: AbortSignal.timeout(1000 * this.#timeout),
      });
      return new Answer(this.#origin, response.status, response.headers, await start(response));
    } catch (error) {
      const { name, cause } = error as { name?: string; cause?: { code?: unknown } };
      return name === 'TimeoutError' ? name : typeof cause?.code === 'string' ? cause.code : (name ?? 'unknown');
    }
  }

  #forget({ connection }: Key): void {
    this.#cache.dropConnection(connection);
    for (const [text, { key }] of this.#flights) {
      if (key.connection === connection) this.#flights.delete(text);
    }
  }

  #tellOfPat(service: string, { name }: Error): void {
    if (this.#warned.has(service)) return;
    this.#warned.add(service);
    this.#warn(`portcullis-client: ${service} is used with the personal access token of this process: ${name}`);
  }
}

function mayBeReplaced(error: unknown): boolean {
  return [AuthorizationRequired, BrokerUnreachable, ProviderTrouble].some((kind) => error instanceof kind);
}

/** As much of a body as is read. */
async function start(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const [decoder, chunks] = [new TextDecoder(), [] as string[]];
  let size = 0;
  while (reader && size <= MAX_ANSWER) {
    const { done, value } = await reader.read();
    if (done) return chunks.join('') + decoder.decode();
    size += value.length;
    chunks.push(decoder.decode(value, { stream: true }));
  }
  await reader?.cancel();
  return chunks.join('');
}
