// Tokens in memory until shortly before they expire. Only tokens are kept, never that there is none.

import { ServiceToken, type Key } from './token.ts';

/** Milliseconds from a clock that nobody sets, and from one that goes on while the machine sleeps. */
export interface Clocks {
  steady(): number;
  wall(): number;
}

export const CLOCKS: Clocks = { steady: () => performance.now(), wall: () => Date.now() };

/** Seconds before its expiry when a token is asked for anew. */
const MARGIN = 60;
/** Seconds for which a token is kept that has no expiry. */
const WITHOUT_EXPIRY = 300;

interface Entry {
  readonly token: ServiceToken;
  readonly untilSteady: number;
  readonly untilWall: number;
}

/** The least recently used token goes first. */
export class TokenCache {
  readonly #capacity: number;
  readonly #clocks: Clocks;
  readonly #entries: Map<string, Entry> = new Map();

  constructor(capacity: number, clocks: Clocks) {
    this.#capacity = capacity;
    this.#clocks = clocks;
  }

  get(key: Key): ServiceToken | undefined {
    const entry = this.#entries.get(key.text);
    if (!entry) return undefined;
    this.#entries.delete(key.text);
    if (this.#clocks.steady() >= entry.untilSteady || this.#clocks.wall() >= entry.untilWall) return undefined;
    this.#entries.set(key.text, entry);
    return entry.token;
  }

  /** Keeps a token that lives for `lifetime` more seconds (`undefined`: not known). */
  put(token: ServiceToken, lifetime: number | undefined): void {
    const kept = 1000 * (lifetime === undefined ? WITHOUT_EXPIRY : lifetime - MARGIN);
    if (!(kept > 0) || this.#capacity <= 0) return;
    const { text } = ServiceToken.keyOf(token);
    this.#entries.delete(text);
    this.#entries.set(text, { token, untilSteady: this.#clocks.steady() + kept, untilWall: this.#clocks.wall() + kept });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#capacity) break;
      this.#entries.delete(oldest);
    }
  }

  /** Forgets this token, but none that came after it. */
  drop(token: ServiceToken): void {
    const { text } = ServiceToken.keyOf(token);
    if (this.#entries.get(text)?.token.accessToken === token.accessToken) this.#entries.delete(text);
  }

  /** Forgets a person's tokens of a service, whatever their scope. */
  dropConnection(connection: string): void {
    for (const [text, { token }] of this.#entries) {
      if (ServiceToken.keyOf(token).connection === connection) this.#entries.delete(text);
    }
  }
}
