//! Answers: JSON that nobody caches, OAuth errors, redirects, and who may call from a browser.

use crate::error::{Culprit, Fault};
use crate::freshness::{self, Outdated};
use crate::oauth::error::{Code, OauthError};
use crate::store::StoreError;
use crate::tokens::DPOP_NONCE;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

/// A JSON answer that is never stored (RFC 6749 §5.1).
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    forbid_storing(&mut response);
    response
}

/// A redirect by which credentials may travel: never 307 or 308, which would repeat a form at the target (RFC 9700
/// §4.12), never stored, never in a `Referer`.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        tracing::error!("a redirect target does not fit into a header");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, [(header::LOCATION, location)]).into_response();
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    forbid_storing(&mut response);
    response
}

/// 204, never stored.
pub(super) fn no_content() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    forbid_storing(&mut response);
    response
}

fn forbid_storing(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// A refusal in the form of RFC 6749 §5.2.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) error: OauthError,
    /// `WWW-Authenticate`, where a scheme was tried.
    pub(super) challenge: Option<HeaderValue>,
    /// `DPoP-Nonce` (RFC 9449 §8).
    pub(super) dpop_nonce: Option<HeaderValue>,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<u16>,
}

impl Refused {
    pub(super) fn new(error: OauthError) -> Self {
        let status = match error.error {
            Code::InvalidClient => StatusCode::UNAUTHORIZED,
            Code::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Code::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, challenge: None, dpop_nonce: None, retry_after: None }
    }

    pub(super) fn because(code: Code, description: &'static str) -> Self {
        Self::new(OauthError::new(code, description))
    }
}

impl From<OauthError> for Refused {
    fn from(error: OauthError) -> Self {
        Self::new(error)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        tracing::error!(error = %fault, "an OAuth request failed");
        match fault.culprit {
            Culprit::Gateway => Self::because(Code::ServerError, "an internal error occurred"),
            Culprit::Busy => Outdated.into(),
            _ => Self {
                status: fault.status(),
                ..Self::because(Code::ServerError, "the request could not be completed")
            },
        }
    }
}

impl From<Outdated> for Refused {
    fn from(_: Outdated) -> Self {
        let retry_after = u16::try_from(freshness::RETRY_AFTER.as_secs()).ok();
        let text = "the gateway cannot reach its database: try again shortly";
        Self { retry_after, ..Self::because(Code::TemporarilyUnavailable, text) }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Fault::from(error).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.error);
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = self.dpop_nonce {
            response.headers_mut().insert(DPOP_NONCE, nonce);
        }
        if let Some(pause) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause));
        }
        response
    }
}

/// 404 in the form that OAuth clients parse.
pub(super) async fn not_found() -> Response {
    let error = OauthError::new(Code::InvalidRequest, "there is no such endpoint here");
    json(StatusCode::NOT_FOUND, &error)
}

/// Lets pages of any origin call, without credentials: what these endpoints answer depends on no cookie (DESIGN 1.7).
pub(super) async fn any_origin(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    for (name, value) in CORS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const CORS: [(HeaderName, &str); 5] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, dpop, mcp-protocol-version"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "dpop-nonce, www-authenticate"),
    (header::ACCESS_CONTROL_MAX_AGE, "7200"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_said_to_come_back_and_what_went_wrong_is_not_told() {
        let answer = |refused: Refused| refused.into_response();
        for (refused, status, retry) in [
            (Refused::from(Outdated), 503, true),
            (StoreError::Busy.into(), 503, true),
            (Fault::gateway("the disk is on fire").into(), 500, false),
            (
                Fault { culprit: Culprit::Upstream, public: "p".into(), private: "what it said".to_owned() }.into(),
                502,
                false,
            ),
        ] {
            let text = serde_json::to_string(&refused.error).unwrap();
            assert!(!text.contains("fire") && !text.contains("said"), "{text}");
            assert_eq!(text.contains("an internal error"), status == 500, "{text}");
            let response = answer(refused);
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retry, "{status}");
        }
    }
}
