// Tools that need a token: the wrapper, and what becomes of a call without one.

import { type Asking, type Call, callOf, type ServerLike, type UserId, userOf } from './caller.ts';
import type { AuthClient } from './client.ts';
import { AuthorizationRequired, PortcullisError } from './errors.ts';
import { type Person, ServiceToken } from './token.ts';

/** What a tool needs. */
export interface RequireOptions {
  /** A service of the broker. */
  provider: string;
  scopes?: readonly string[];
  /** For whom; default: `username` or `sub` in `authInfo.extra` of the caller's access token. */
  user?: UserId;
  /**
   * The server that the tool belongs to. It knows whether a client of revision 2025-11-25 opens links; without it such
   * clients get the link as text.
   */
  server?: ServerLike;
  /** Seconds that a call waits for a person who said to the client that they open the link; default: 45. */
  patience?: number;
}

/**
 * The callback of a tool that needs a token, which it gets as its first argument, for `registerTool` of version 1 or 2 of
 * the official SDK.
 *
 * Without a connection the person gets the link: by URL elicitation where the client declared it, otherwise as a tool
 * result with `isError`. The next call asks the broker anew.
 */
export function requireAuth<Parameters extends unknown[], Result>(
  client: AuthClient,
  options: RequireOptions,
  handler: (token: ServiceToken, ...parameters: Parameters) => Result | Promise<Result>,
): (...parameters: Parameters) => Promise<Result> {
  const gate = new Gate(client, options);
  return async (...parameters) => {
    const call = callOf(parameters.at(-1), options.server);
    const passed = await gate.enter(call);
    // Whatever else comes out is a tool result of the SDK's.
    return passed instanceof ServiceToken ? handler(passed, ...parameters) : (passed as Result);
  };
}

/** Lets a call pass with a token, or answers it. */
class Gate {
  readonly #client: AuthClient;
  readonly #options: RequireOptions;

  constructor(client: AuthClient, options: RequireOptions) {
    this.#client = client;
    this.#options = options;
  }

  async enter(call: Call | undefined): Promise<ServiceToken | object> {
    const caller = call?.caller ?? { context: undefined, claims: {}, header: () => undefined };
    try {
      const user = await userOf(caller, this.#options.user);
      return await this.#token(user).catch((error: unknown) => {
        if (call?.asking && error instanceof AuthorizationRequired) return this.#ask(call.asking, user, error);
        throw error;
      });
    } catch (error) {
      // Outside of MCP, as in a test of the tool, the error is the caller's.
      if (!call || !(error instanceof PortcullisError)) throw error;
      return { content: [{ type: 'text', text: error.message }], isError: true };
    }
  }

  async #ask(asking: Asking, user: Person, required: AuthorizationRequired): Promise<ServiceToken | object> {
    const { provider } = this.#options;
    const message = `This tool needs access to ${provider} for ${required.user}. Sign in and approve there to go on.`;
    if (asking.by === 'request') {
      const id = `portcullis-${crypto.randomUUID()}`;
      const token = await this.#after(await asking.ask(message, required.authUrl, id), user, required);
      await asking.done(id);
      return token;
    }
    const question = `portcullis.${provider}`;
    if (Object.hasOwn(asking.responses, question)) return this.#after(asking.responses[question], user, required);
    const params = { mode: 'url', message, url: required.authUrl };
    return { resultType: 'input_required', inputRequests: { [question]: { method: 'elicitation/create', params } } };
  }

  /** `accept` says that the person opens the link, not that they are done. */
  async #after(answer: unknown, user: Person, required: AuthorizationRequired): Promise<ServiceToken> {
    const { provider, patience = 45 } = this.#options;
    if ((answer as { action?: unknown } | undefined)?.action !== 'accept') {
      throw new PortcullisError(
        `${provider} stays unconnected: the person did not want to open the link. Ask them before you call this tool again.`,
      );
    }
    // Each question makes a link at the broker, and a line in its audit log.
    let [error, left, pause] = [required, patience, 2];
    for (; left >= pause; left -= pause, pause = Math.min(pause * 1.5, 10)) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
      try {
        return await this.#token(user);
      } catch (still) {
        if (!(still instanceof AuthorizationRequired)) throw still;
        error = still;
      }
    }
    throw error;
  }

  #token(user: Person): Promise<ServiceToken> {
    return this.#client.token(this.#options.provider, user, { scope: this.#options.scopes ?? [] });
  }
}
