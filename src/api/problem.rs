//! Errors in the form of RFC 9457. Their `detail` names the fix.

use crate::administration::Refused;
use crate::error::{Culprit, Fault};
use crate::freshness::{self, Outdated};
use crate::oauth::challenge::BearerChallenge;
use crate::ratelimit::Limited;
use crate::tokens::DPOP_NONCE;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// The media type of RFC 9457 §3.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why there is no other answer.
pub(super) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// `WWW-Authenticate`.
    challenge: Option<String>,
    /// `DPoP-Nonce`.
    nonce: Option<String>,
    limited: Option<Box<Limited>>,
    /// `Retry-After`.
    retry_after: Option<Duration>,
}

/// A problem (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body<'a> {
    /// Always `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened and what to do about it.
    detail: &'a str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), challenge: None, nonce: None, limited: None, retry_after: None }
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not take that method: Allow lists those that it takes",
        )
    }

    /// Nobody has shown who they are, or not well enough.
    pub(super) fn unauthorized(challenge: &BearerChallenge, detail: &'static str) -> Self {
        Self { challenge: Some(challenge.to_string()), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// The token is bound to a key that was not proved (RFC 9449 §7.1).
    pub(super) fn unproven(challenge: &BearerChallenge, why: &'static str, nonce: String) -> Self {
        let nonce = Some(nonce);
        Self { challenge: Some(challenge.for_dpop()), nonce, ..Self::new(StatusCode::UNAUTHORIZED, why) }
    }

    /// The token has too little scope.
    pub(super) fn insufficient_scope(challenge: &BearerChallenge, detail: &'static str) -> Self {
        Self { challenge: Some(challenge.to_string()), ..Self::forbidden(detail) }
    }

    pub(super) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        let detail = "too many requests: come again when Retry-After says";
        Self { limited: Some(Box::new(limited)), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }
}

impl From<Outdated> for Problem {
    fn from(outdated: Outdated) -> Self {
        let retry_after = Some(freshness::RETRY_AFTER);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, outdated.to_string()) }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(detail) => Self::not_found(detail),
            Refused::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            Refused::Invalid(detail) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            Refused::Failed(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "a request to the API failed");
        if fault.culprit == Culprit::Busy {
            let retry_after = Some(freshness::RETRY_AFTER);
            return Self { retry_after, ..Self::new(fault.status(), fault.public) };
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "an internal error occurred: the gateway's log says more")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = Body { kind: "about:blank", title, status: self.status.as_u16(), detail: &self.detail };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in [(header::WWW_AUTHENTICATE, self.challenge), (DPOP_NONCE, self.nonce)] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        if let Some(pause) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        if let Some(limited) = self.limited {
            limited.write(headers);
        }
        response
    }
}

/// What every operation may answer; `document.rs` adds what follows from parameters and bodies.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let all = [
            ("401", "Nobody has shown who they are. `WWW-Authenticate` says how."),
            ("403", "Whoever it is does not administer the gateway, or the request was not sent by a page of it."),
            ("429", "Too many requests. `Retry-After` says when to come again."),
            ("500", "The gateway failed. Its log says more."),
            ("503", "The database cannot be reached. `Retry-After` says when to come again."),
        ];
        all.into_iter().map(|(status, text)| (status.to_owned(), described(text).into())).collect()
    }
}

/// A problem in the document.
pub(super) fn described(text: &str) -> Described {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(text).content(MEDIA_TYPE, content).build()
}
