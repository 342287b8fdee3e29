/** Tokens of Google, GitHub and other services for MCP servers, from a Portcullis gateway. */

export { AuthClient, type AuthLink, type ClientOptions, type TokenOptions } from './client.ts';
export {
  AuthorizationRequired,
  BrokerUnreachable,
  CallerUnknown,
  ConfigurationError,
  KeyRefused,
  NotAllowed,
  PortcullisError,
  ProviderTrouble,
  RateLimited,
  RequestRefused,
  ServiceUnknown,
  UnexpectedAnswer,
} from './errors.ts';
export { forwardedUser, type Caller, type ServerLike, type UserId } from './caller.ts';
export { requireAuth, type RequireOptions } from './guard.ts';
export { ServiceToken, type Person, type Source } from './token.ts';
