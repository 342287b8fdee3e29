// A token, and the name under which it is kept.

/**
 * Where a token comes from: the person's connection, a personal access token that Portcullis keeps, or one in the
 * environment of this process (`PORTCULLIS_PAT_<SERVICE>`).
 */
export type Source = 'oauth' | 'pat' | 'environment';

/** A person by their user name at Portcullis, or by their verified e-mail address. */
export type Person = string | { readonly email: string };

/** Whose token, for what. */
export class Key {
  readonly service: string;
  readonly person: Person;
  readonly scope: string;
  /** The same for the same person and service. */
  readonly connection: string;
  /** The same for the same token. */
  readonly text: string;

  constructor(service: string, person: Person, scope: string | readonly string[] = []) {
    const scopes = typeof scope === 'string' ? scope.split(' ') : scope;
    this.service = service;
    this.person = typeof person === 'string' ? person : { email: person.email };
    // Their order means nothing (RFC 6749, section 3.3).
    this.scope = [...new Set(scopes)].filter(Boolean).sort().join(' ');
    this.connection = JSON.stringify([service, this.person]);
    this.text = JSON.stringify([service, this.person, this.scope]);
  }

  get user(): string {
    return typeof this.person === 'string' ? this.person : this.person.email;
  }
}

/**
 * An access token of a service for one person. It never shows its secret by itself: not when it is logged, inspected or
 * made JSON of. Read `accessToken`, or send `headers`.
 */
export class ServiceToken {
  readonly service: string;
  readonly user: string;
  readonly tokenType: string;
  readonly expiresAt: Date | undefined;
  readonly scope: string;
  readonly source: Source;
  readonly #secret: string;
  readonly #key: Key;

  /** Tokens are made by an AuthClient. */
  constructor(key: Key, secret: string, rest: { tokenType?: string; expiresAt?: Date | undefined; scope?: string; source: Source }) {
    this.service = key.service;
    this.user = key.user;
    this.tokenType = rest.tokenType ?? 'Bearer';
    this.expiresAt = rest.expiresAt;
    this.scope = rest.scope ?? '';
    this.source = rest.source;
    this.#secret = secret;
    this.#key = key;
  }

  /** The secret. */
  get accessToken(): string {
    return this.#secret;
  }

  /** The header that authorizes a request to the service (RFC 6750, section 2.1). */
  get headers(): { Authorization: string } {
    const kind = this.tokenType.toLowerCase() === 'bearer' ? 'Bearer' : this.tokenType;
    return { Authorization: `${kind} ${this.#secret}` };
  }

  /** @internal */
  static keyOf(token: ServiceToken): Key {
    return token.#key;
  }
}
