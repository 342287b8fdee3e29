// Which tool call this is, of version 1 or 2 of the official SDK, and on whose behalf. The SDK is known by its shape only.

import { CallerUnknown } from './errors.ts';
import type { Person } from './token.ts';

/** The tool call in progress, as `user` functions get it. */
export interface Caller {
  /** The last argument of the tool's callback. */
  readonly context: unknown;
  /** `authInfo.extra` of the access token that the MCP server has verified; empty without one. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** A header of the HTTP request. What a client can reach directly, it can forge. */
  header(name: string): string | undefined;
}

/** For whom a tool is called. */
export type UserId = Person | ((caller: Caller) => Person | undefined | Promise<Person | undefined>);

/** An `McpServer` of either version. */
export interface ServerLike {
  readonly server: { getClientCapabilities(): unknown };
}

/** How the client is asked to open a link. */
export type Asking =
  /** By the tool's result: 2026-07-28, and version 2 of the SDK for older clients. */
  | { readonly by: 'result'; readonly responses: Readonly<Record<string, unknown>> }
  /** By a request of the server's (2025-11-25). */
  | { readonly by: 'request'; ask(message: string, url: string, id: string): Promise<unknown>; done(id: string): Promise<void> };

/** A tool call, as far as both versions agree. */
export interface Call {
  readonly caller: Caller;
  /** `undefined` when the client opens no links, or it is not known. */
  readonly asking: Asking | undefined;
}

/**
 * The person whom a proxy in front of the server has signed in with `/verify` of a Portcullis (`X-User-Name`). Only for
 * servers that nobody reaches past that proxy.
 */
export function forwardedUser(caller: Caller): string | undefined {
  try {
    return decodeURIComponent(caller.header('x-user-name') ?? '') || undefined;
  } catch {
    return undefined;
  }
}

/** Reads the context of a tool call; `undefined` when it is none. */
export function callOf(context: unknown, server: ServerLike | undefined): Call | undefined {
  if (isObject(context) && isObject(context['mcpReq'])) return callOfV2(context as unknown as V2, server);
  if (isObject(context) && typeof context['sendRequest'] === 'function') return callOfV1(context as unknown as V1, server);
  return undefined;
}

/** For whom. Without `given`: the claim `username`, which is the user name in tokens of a Portcullis, else `sub`. */
export async function userOf(caller: Caller, given: UserId | undefined): Promise<Person> {
  const { claims } = caller;
  const found = typeof given === 'function' ? await given(caller) : (given ?? claims['username'] ?? claims['sub']);
  if (typeof found === 'string' && found) return found;
  if (isObject(found) && typeof found['email'] === 'string' && found['email']) return { email: found['email'] };
  throw new CallerUnknown();
}

interface V1 {
  authInfo?: { extra?: Record<string, unknown> };
  requestInfo?: { headers?: Record<string, string | string[] | undefined> };
  requestId: string | number;
}

interface V1Server {
  elicitInput(params: object, options: object): Promise<unknown>;
  createElicitationCompletionNotifier(id: string, options: object): () => Promise<void>;
}

function callOfV1(extra: V1, server: ServerLike | undefined): Call {
  const header = (name: string) => {
    const value = extra.requestInfo?.headers?.[name];
    return typeof value === 'string' ? value : undefined;
  };
  const related = { relatedRequestId: extra.requestId };
  const asks = server?.server as unknown as V1Server;
  const asking: Asking = {
    by: 'request',
    ask: (message, url, elicitationId) => asks.elicitInput({ mode: 'url', message, url, elicitationId }, related),
    done: (id) => asks.createElicitationCompletionNotifier(id, related)(),
  };
  const opens = opensUrls(server?.server.getClientCapabilities());
  return { caller: { context: extra, claims: extra.authInfo?.extra ?? {}, header }, asking: opens ? asking : undefined };
}

interface V2 {
  mcpReq: { envelope?: Record<string, unknown>; inputResponses?: Record<string, unknown> };
  http?: { authInfo?: { extra?: Record<string, unknown> }; req?: Request };
}

function callOfV2(context: V2, server: ServerLike | undefined): Call {
  const { mcpReq, http } = context;
  const header = (name: string) => http?.req?.headers.get(name) ?? undefined;
  const caller: Caller = { context, claims: http?.authInfo?.extra ?? {}, header };
  // The SDK asks clients of older revisions itself; only the server knows what those can do.
  const declared = mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? server?.server.getClientCapabilities();
  return { caller, asking: opensUrls(declared) ? { by: 'result', responses: mcpReq.inputResponses ?? {} } : undefined };
}

function opensUrls(capabilities: unknown): boolean {
  const elicitation = isObject(capabilities) ? capabilities['elicitation'] : undefined;
  return isObject(elicitation) && isObject(elicitation['url']);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
