// What can go wrong, each with a text that says what to do. No text ever holds a key or a token.

/** Whatever this library throws. */
export class PortcullisError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The client cannot be made from these options and this environment. */
export class ConfigurationError extends PortcullisError {}

/** The person has not connected the service yet, or not with these scopes. */
export class AuthorizationRequired extends PortcullisError {
  readonly service: string;
  readonly user: string;
  /**
   * May be shown to the person. It is for them alone, and for once; where a service knows personal access tokens only, it
   * is the page on which to leave one.
   */
  readonly authUrl: string;

  constructor(service: string, user: string, authUrl: string) {
    super(`${service} is not connected for ${user}. Open this link, sign in and go on from there, then try again: ${authUrl}`);
    this.service = service;
    this.user = user;
    this.authUrl = authUrl;
  }
}

/** Nobody knows for whom a tool was called. */
export class CallerUnknown extends PortcullisError {
  constructor() {
    super(
      'It is not known who calls this tool: give the MCP server an authentication whose `authInfo.extra` has `username` or ' +
        '`sub`, or tell requireAuth by `user`.',
    );
  }
}

/** The broker does not take the API key. */
export class KeyRefused extends PortcullisError {
  constructor() {
    super(
      'Portcullis refuses the API key: it is unknown, expired or revoked. Make one with `portcullis apikey create NAME` ' +
        'and put it into PORTCULLIS_API_KEY.',
    );
  }
}

/** The API key is good, but not for this service or this person. */
export class NotAllowed extends PortcullisError {
  constructor(service: string, user: string, reason: string) {
    super(
      `The API key may not ask for ${service} on behalf of ${user}${told(reason)}. Make one that may: ` +
        `portcullis apikey create NAME --service ${service} --user ${user}`,
    );
  }
}

/** The broker has no such service, or knows no such person. */
export class ServiceUnknown extends PortcullisError {
  constructor(service: string, reason: string) {
    super(
      `Portcullis cannot look for ${service}${told(reason)}. Its configuration needs a [[service]] of that name, and the ` +
        'person an account there.',
    );
  }
}

/** The broker finds the request itself wrong. */
export class RequestRefused extends PortcullisError {
  constructor(reason: string) {
    super(`Portcullis refused the request: ${reason || 'it does not say why'}`);
  }
}

/** Too many requests. */
export class RateLimited extends PortcullisError {
  /** In seconds, when the broker said it. */
  readonly retryAfter: number | undefined;

  constructor(retryAfter: number | undefined) {
    super(`Portcullis is asked too often; ${later(retryAfter)}`);
    this.retryAfter = retryAfter;
  }
}

/** The service's provider, or the broker, fails at the moment. The connection stays. */
export class ProviderTrouble extends PortcullisError {
  /** In seconds, when the broker said it. */
  readonly retryAfter: number | undefined;

  constructor(service: string, retryAfter: number | undefined) {
    super(`${service} gives no token at the moment; ${later(retryAfter)}`);
    this.retryAfter = retryAfter;
  }
}

/** No answer at all. */
export class BrokerUnreachable extends PortcullisError {
  constructor(origin: string, reason: string) {
    super(`No answer from Portcullis at ${origin} (${reason}). Is it running, and is PORTCULLIS_URL right?`);
  }
}

/** An answer that no Portcullis gives. */
export class UnexpectedAnswer extends PortcullisError {
  readonly status: number;

  constructor(origin: string, status: number, reason: string) {
    super(`${origin} answered with status ${status}: ${reason}. Does PORTCULLIS_URL name the root of a Portcullis?`);
    this.status = status;
  }
}

function told(reason: string): string {
  return reason && ` (${reason})`;
}

function later(retryAfter: number | undefined): string {
  return retryAfter === undefined ? 'try again in a minute.' : `try again in ${Math.ceil(retryAfter)} seconds.`;
}
