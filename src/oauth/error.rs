//! OAuth error responses (RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 8707 §2, RFC 8628 §3.5, RFC 6750 §3.1,
//! RFC 9449 §12.2).

use serde::Serialize;
use std::borrow::Cow;

/// A registered error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the registered ones
pub enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    InsufficientScope,
    InvalidClientMetadata,
    InvalidRedirectUri,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    UnsupportedTokenType,
    InvalidDpopProof,
    UseDpopNonce,
    AccessDenied,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    LoginRequired,
    InteractionRequired,
    ServerError,
    TemporarilyUnavailable,
}

impl Code {
    /// The code as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidClient => "invalid_client",
            Code::InvalidGrant => "invalid_grant",
            Code::InvalidScope => "invalid_scope",
            Code::InvalidTarget => "invalid_target",
            Code::InvalidToken => "invalid_token",
            Code::InsufficientScope => "insufficient_scope",
            Code::InvalidClientMetadata => "invalid_client_metadata",
            Code::InvalidRedirectUri => "invalid_redirect_uri",
            Code::UnauthorizedClient => "unauthorized_client",
            Code::UnsupportedGrantType => "unsupported_grant_type",
            Code::UnsupportedResponseType => "unsupported_response_type",
            Code::UnsupportedTokenType => "unsupported_token_type",
            Code::InvalidDpopProof => "invalid_dpop_proof",
            Code::UseDpopNonce => "use_dpop_nonce",
            Code::AccessDenied => "access_denied",
            Code::AuthorizationPending => "authorization_pending",
            Code::SlowDown => "slow_down",
            Code::ExpiredToken => "expired_token",
            Code::LoginRequired => "login_required",
            Code::InteractionRequired => "interaction_required",
            Code::ServerError => "server_error",
            Code::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// An error as a client sees it. The description is ASCII and never repeats what the client sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OauthError {
    /// The registered code.
    pub error: Code,
    /// One sentence for the developer of the client.
    pub error_description: Cow<'static, str>,
}

impl OauthError {
    /// An error with its sentence.
    pub fn new(error: Code, error_description: impl Into<Cow<'static, str>>) -> Self {
        Self { error, error_description: error_description.into() }
    }
}
