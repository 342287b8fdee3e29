//! Our own answers on MCP hostnames (DESIGN 1.6): status, challenge, and a body that fits who asked.

use super::body::discard_small;
use super::headers;
use super::policy::Denied;
use super::session::ServerSession;
use crate::freshness::{self, Outdated};
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::scheme::Scheme;
use crate::paths;
use crate::ratelimit::Limited;
use crate::tokens::DPOP_NONCE;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use std::time::Duration;

/// Why a request is not forwarded.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request is malformed; in words.
    BadRequest(&'static str),
    /// No such hostname, or one that must not be used.
    NotFound,
    /// The token is missing or not good here.
    Unauthorized(TokenError),
    /// The token is good, and its person may not use this upstream. No challenge: another token would not help, and a client
    /// that is sent through the flow for it would do that again and again.
    NotPermitted,
    /// The caller does not prove that it has the key that its token is bound to (RFC 9449 §7.1).
    Unproven {
        /// The registered code.
        error: &'static str,
        /// In words.
        why: &'static str,
        /// For the next try.
        nonce: String,
    },
    /// The page that sent the request may not call.
    ForeignOrigin,
    /// A browser wants the script of a service worker.
    ServiceWorker,
    /// Too many requests.
    Limited(Limited),
    /// The head is over its limit.
    HeadTooLarge,
    /// The body is over its limit, in bytes.
    BodyTooLarge(u64),
    /// The body came too slowly.
    BodyTimeout,
    /// The upstream cannot be reached or broke its answer off; in words.
    BadGateway(String),
    /// The upstream did not answer in time.
    GatewayTimeout,
    /// The upstream was out of order a moment ago and is not asked.
    OutOfOrder {
        /// Whether it did not answer in time.
        timeout: bool,
        /// When to come again.
        retry_after: Duration,
    },
    /// As many requests as allowed wait for the upstream, or for the database.
    Busy,
    /// The database cannot be reached, and so nobody knows what was revoked.
    Outdated(Outdated),
    /// The upstream's authorization server is in trouble.
    AuthorizationTrouble {
        /// Whether it did not answer in time.
        timeout: bool,
        /// When to come again.
        retry_after: Duration,
    },
    /// An administrator limits what may be asked of the upstream.
    ByPolicy(Box<Denied>),
    /// We ourselves failed.
    Internal,
}

/// What is wrong with the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// There is none: a bare challenge (RFC 6750 §3.1).
    Missing,
    /// Wrong audience, expired, revoked, forged.
    Invalid,
    /// It is bound to a key and came without a proof, as if it were not (RFC 9449 §7.2).
    Bound,
    /// The token is good, but the person's authorization at the upstream is not: the flow must be run again.
    NotConnected,
}

/// Where the answer goes, and what it must say about the resource.
pub(super) struct Asked<'a> {
    /// The hostname's origin; empty when there is none.
    pub(super) origin: &'a str,
    /// Scopes that the upstream is known to want, space-separated.
    pub(super) scope: Option<String>,
    /// The page that asked, if it may read the answer.
    pub(super) allowed_origin: Option<HeaderValue>,
    /// Who will read the body.
    pub(super) reader: Reader,
}

impl Asked<'_> {
    /// A request for the control plane, at this path.
    pub(super) fn locally(path: &str) -> Self {
        let reader = if path.starts_with("/api/") { Reader::Api } else { Reader::OAuth };
        Self { origin: "", scope: None, allowed_origin: None, reader }
    }
}

/// Who reads the body of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// An MCP client: a JSON-RPC error.
    Mcp,
    /// An OAuth client (RFC 6749 §5.2).
    OAuth,
    /// A program that calls the admin API (RFC 9457).
    Api,
}

impl Reader {
    fn media_type(self) -> &'static str {
        match self {
            Reader::Mcp | Reader::OAuth => "application/json",
            Reader::Api => "application/problem+json",
        }
    }
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Unauthorized(_) | Refusal::Unproven { .. } => StatusCode::UNAUTHORIZED,
            Refusal::NotPermitted | Refusal::ForeignOrigin | Refusal::ServiceWorker => StatusCode::FORBIDDEN,
            Refusal::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Refusal::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Refusal::AuthorizationTrouble { timeout: false, .. } | Refusal::OutOfOrder { timeout: false, .. } => {
                StatusCode::BAD_GATEWAY
            }
            Refusal::AuthorizationTrouble { timeout: true, .. } | Refusal::OutOfOrder { timeout: true, .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Refusal::Busy | Refusal::Outdated(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::ByPolicy(denied) => denied.status,
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When to come again, in seconds (RFC 9110 §10.2.3). A limit has fields of its own, with this one among them.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::AuthorizationTrouble { retry_after, .. } | Refusal::OutOfOrder { retry_after, .. } => {
                Some(retry_after.as_secs().max(1))
            }
            Refusal::Busy => Some(1),
            Refusal::Outdated(_) => Some(freshness::RETRY_AFTER.as_secs()),
            _ => None,
        }
    }

    /// Whether the upstream is to blame: unreachable, late, or broken off.
    pub(super) fn blames_upstream(&self) -> bool {
        matches!(self, Refusal::BadGateway(_) | Refusal::GatewayTimeout)
    }

    /// One sentence for whoever reads it: a person, or a model.
    fn message(&self) -> String {
        match self {
            Refusal::BadRequest(why) => (*why).to_owned(),
            Refusal::NotFound => "no MCP server is reachable under this hostname".to_owned(),
            Refusal::Unauthorized(TokenError::Missing) => "sign in first: see WWW-Authenticate".to_owned(),
            Refusal::Unauthorized(TokenError::Invalid) => {
                "the access token is invalid, expired or revoked, or was issued for another server".to_owned()
            }
            Refusal::Unauthorized(TokenError::NotConnected) => {
                "the connection to the upstream has ended: authorize again".to_owned()
            }
            Refusal::NotPermitted => {
                "you may not use this server: ask an administrator of this gateway to permit it to you".to_owned()
            }
            Refusal::Unauthorized(TokenError::Bound) => {
                "the access token is bound to a key: send it with the scheme DPoP and a proof".to_owned()
            }
            Refusal::Unproven { why, .. } => (*why).to_owned(),
            Refusal::ForeignOrigin => {
                "pages of this origin may not call: an administrator can add it to server.allowed_origins".to_owned()
            }
            Refusal::ServiceWorker => "MCP hostnames have no service workers".to_owned(),
            Refusal::Limited(_) => "too many requests: see Retry-After".to_owned(),
            Refusal::HeadTooLarge => "the request's head is larger than 64 KiB".to_owned(),
            Refusal::BodyTooLarge(limit) => format!("the request's body is larger than {limit} bytes"),
            Refusal::BodyTimeout => "the request's body came too slowly".to_owned(),
            Refusal::BadGateway(why) => why.clone(),
            Refusal::GatewayTimeout => "the upstream did not answer in time".to_owned(),
            Refusal::OutOfOrder { .. } => "the upstream could not be reached a moment ago: see Retry-After".to_owned(),
            Refusal::Outdated(outdated) => outdated.to_string(),
            Refusal::Busy => "too many requests are under way: see Retry-After".to_owned(),
            Refusal::AuthorizationTrouble { .. } => {
                "the upstream's authorization server is in trouble: see Retry-After".to_owned()
            }
            Refusal::ByPolicy(_) => "an administrator limits the tools of this server".to_owned(),
            Refusal::Internal => "an internal error occurred".to_owned(),
        }
    }
}

/// Sends a refusal, after a small body was read away.
pub(super) async fn refuse(session: &mut ServerSession, refusal: &Refusal, asked: &Asked<'_>) -> Result<()> {
    match refusal {
        // Nobody waits for the rest.
        Refusal::BodyTimeout => session.close_after(),
        _ => discard_small(session).await?,
    }
    let body = Bytes::from(body(refusal, asked.reader).to_string());
    let mut head = ResponseHeader::build_no_case(refusal.status(), Some(12))?;
    head.insert_header(header::CONTENT_TYPE, asked.reader.media_type())?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    headers::isolate(&mut head)?;
    if let Some(origin) = &asked.allowed_origin {
        headers::allow_origin(&mut head, origin)?;
    }
    match refusal {
        Refusal::Unauthorized(_) | Refusal::Unproven { .. } => {
            challenge(&mut head, refusal, asked, session.req_header())?
        }
        Refusal::Limited(limited) => {
            let mut fields = http::HeaderMap::new();
            limited.write(&mut fields);
            for (name, value) in &fields {
                head.insert_header(name, value)?;
            }
        }
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after() {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    write_whole(session, head, body).await
}

/// Sends a refusal of a request whose head nobody could read; it ends the connection.
pub(super) async fn refuse_unread(session: &mut ServerSession, refusal: &Refusal) -> Result<()> {
    let body = Bytes::from(body(refusal, Reader::Mcp).to_string());
    let mut head = ResponseHeader::build_no_case(refusal.status(), Some(8))?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(seconds) = refusal.retry_after() {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    headers::isolate(&mut head)?;
    session.close_after();
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(body, true).await
}

fn body(refusal: &Refusal, reader: Reader) -> serde_json::Value {
    if let Refusal::ByPolicy(denied) = refusal {
        return denied.answer.clone();
    }
    match reader {
        // The code is one that neither JSON-RPC nor MCP gives a meaning to: those of MCP 2026-07-28 would make a client
        // believe that the upstream had answered.
        Reader::Mcp => serde_json::json!({
            "jsonrpc": "2.0",
            "id": null,
            "error": { "code": -32000, "message": refusal.message() },
        }),
        Reader::OAuth => {
            let error = match refusal {
                Refusal::Limited(_) => "temporarily_unavailable",
                _ => "invalid_request",
            };
            serde_json::json!({ "error": error, "error_description": refusal.message() })
        }
        Reader::Api => {
            let status = refusal.status();
            serde_json::json!({
                "type": "about:blank",
                "title": status.canonical_reason().unwrap_or_default(),
                "status": status.as_u16(),
                "detail": refusal.message(),
            })
        }
    }
}

/// Writes an answer whose body is complete.
pub(super) async fn write_whole(session: &mut ServerSession, head: ResponseHeader, body: Bytes) -> Result<()> {
    let bodiless = session.req_header().method == http::Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(head)).await?;
    let body = if bodiless { Bytes::new() } else { body };
    session.write_response_body(body, true).await
}

/// Whoever presents a token with a scheme is told in that scheme what is wrong. Only those hear of `DPoP` who use it: clients
/// in the field read the field by hand and expect one `Bearer` challenge, and the metadata say what else there is.
fn challenge(head: &mut ResponseHeader, refusal: &Refusal, asked: &Asked<'_>, request: &RequestHeader) -> Result<()> {
    let (error, error_description) = match refusal {
        Refusal::Unproven { error, why, .. } => (Some(*error), Some(*why)),
        Refusal::Unauthorized(TokenError::Invalid) => {
            (Some("invalid_token"), Some("The access token is invalid, expired or revoked"))
        }
        Refusal::Unauthorized(TokenError::Bound) => (Some("invalid_token"), Some("The access token is bound to a key")),
        Refusal::Unauthorized(TokenError::NotConnected) => {
            (Some("invalid_token"), Some("The connection to the upstream has ended"))
        }
        _ => (None, None),
    };
    let pointer = paths::inserted(paths::PROTECTED_RESOURCE, request.uri.path());
    let challenge = BearerChallenge {
        resource_metadata: Some(format!("{}{pointer}", asked.origin)),
        scope: asked.scope.clone(),
        error: error.map(str::to_owned),
        error_description: error_description.map(str::to_owned),
    };
    let authorization = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if authorization.and_then(Scheme::of).is_some_and(|(scheme, _)| scheme == Scheme::Dpop) {
        head.insert_header(header::WWW_AUTHENTICATE, challenge.for_dpop())?;
    } else {
        head.insert_header(header::WWW_AUTHENTICATE, challenge.to_string())?;
        if matches!(refusal, Refusal::Unauthorized(TokenError::Bound)) {
            head.append_header(header::WWW_AUTHENTICATE, challenge.for_dpop())?;
        }
    }
    match refusal {
        Refusal::Unproven { nonce, .. } => head.insert_header(DPOP_NONCE, nonce),
        _ => Ok(()),
    }
}
