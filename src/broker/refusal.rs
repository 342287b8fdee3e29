//! What a program is told when it gets nothing: JSON in the form of RFC 6749 §5.2.

use super::link::Link;
use crate::error::{Culprit, Fault};
use crate::freshness;
use crate::ratelimit::Limited;
use crate::store::StoreError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// Why there is no other answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// A registered code where one fits.
    error: &'static str,
    description: Cow<'static, str>,
    link: Option<Link>,
    /// `Retry-After`.
    retry_after: Option<Duration>,
    limited: Option<Box<Limited>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    error_description: String,
    #[serde(flatten)]
    link: Option<&'a Link>,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { status, error, description: description.into(), link: None, retry_after: None, limited: None }
    }

    /// The request cannot be read, or contradicts itself.
    pub(super) fn bad_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// No key, or none of ours.
    pub(super) fn unauthenticated(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    /// The key is for something else.
    pub(super) fn wrong_key() -> Self {
        let description = "the API key lacks the scope broker: `portcullis apikey create NAME` makes one that has it";
        Self::new(StatusCode::FORBIDDEN, "insufficient_scope", description)
    }

    /// The key, or the person, may not.
    pub(super) fn denied(description: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// No such service.
    pub(super) fn unknown_service() -> Self {
        let description = "there is no such service: `portcullis service list` shows all";
        Self::new(StatusCode::NOT_FOUND, "unknown_service", description)
    }

    /// No such person, for a key that may act for everybody.
    pub(super) fn unknown_user() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_user", "nobody has that user name or verified e-mail address here")
    }

    /// The person has to be led to the service first.
    pub(super) fn authorization_required(link: Link) -> Self {
        let description = "the person has to connect the service first: show them auth_url, it is for them alone";
        Self { link: Some(link), ..Self::new(StatusCode::UNAUTHORIZED, "authorization_required", description) }
    }

    /// The service has no OAuth client, and the person has left no token at `link`.
    pub(super) fn needs_pat(link: Link, fault: Fault) -> Self {
        Self { link: Some(link), ..Self::new(StatusCode::UNAUTHORIZED, "authorization_required", fault.public) }
    }

    /// The service's provider is in trouble.
    pub(super) fn trouble(retry_after: Duration, fault: Fault) -> Self {
        let status = match fault.culprit {
            Culprit::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let refusal = Self::new(status, "temporarily_unavailable", fault.public);
        Self { retry_after: Some(retry_after), ..refusal }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault.culprit {
            Culprit::Caller => Self::bad_request(fault.public),
            Culprit::Busy => {
                tracing::warn!(%fault, "a request to the broker has to wait");
                let refusal = Self::new(fault.status(), "temporarily_unavailable", fault.public);
                Self { retry_after: Some(freshness::RETRY_AFTER), ..refusal }
            }
            _ => {
                tracing::error!(%fault, "a request to the broker failed");
                let status = fault.status();
                Self::new(status, "server_error", "an internal error occurred: the gateway's log says more")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Fault::from(error).into()
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        let description = "too many requests: come again when Retry-After says";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description);
        Self { limited: Some(Box::new(limited)), ..refusal }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error_description = self.description.chars().map(plain).collect();
        let body = Body { error: self.error, error_description, link: self.link.as_ref() };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1 wants one. It says nothing of the link: headers are logged more often than bodies.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"token broker\""));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(limited) = self.limited {
            limited.write(headers);
        }
        response
    }
}

/// RFC 6749 §5.2 has no other characters in a description; labels of services may.
fn plain(c: char) -> char {
    match c {
        ' '..='~' if c != '"' && c != '\\' => c,
        '"' => '\'',
        _ => '?',
    }
}
