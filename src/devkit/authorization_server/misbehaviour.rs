//! The ways in which an authorization server can be wrong.

/// What the server does wrong while it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misbehaviour {
    /// There is no metadata at all: 404.
    NoMetadata,
    /// Only OpenID Connect's metadata exists, not RFC 8414's.
    OnlyOpenId,
    /// The metadata names another issuer (RFC 8414 §3.3).
    WrongIssuer,
    /// The metadata does not list PKCE S256.
    WithoutS256,
    /// The metadata has two megabytes.
    HugeMetadata,
    /// The metadata never comes to its end: a byte a second.
    SlowMetadata,
    /// The metadata names no registration endpoint.
    NoRegistration,
    /// Registration is answered with an error.
    RegistrationRefused,
    /// The token endpoint answers 500.
    TokenServerError,
    /// The token endpoint does not answer until the server behaves again.
    TokenStalls,
    /// The token endpoint answers 200 with something that is not JSON.
    TokenGarbage,
    /// Authorization responses carry no `iss`, although the metadata promises it.
    IssMissing,
    /// Authorization responses carry another issuer's `iss`.
    IssWrong,
    /// Access tokens are issued that have expired already.
    ShortLivedTokens,
    /// Refreshing is answered with `invalid_grant`.
    RefreshRefused,
    /// Only the first scope is granted, whatever was asked for.
    WithheldScope,
    /// No refresh tokens are issued.
    WithoutRefreshTokens,
}
