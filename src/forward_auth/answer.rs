//! What a proxy is told, and through it the backend or whoever asked.

use super::Passed;
use crate::error::Fault;
use crate::freshness;
use crate::hostname::{HostName, Realm, Site};
use crate::oauth::challenge::BearerChallenge;
use crate::page::{self, MessagePage};
use crate::paths;
use crate::store::StoreError;
use crate::tokens::Unverified;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::fmt::Write;

/// The headers that say who somebody is. All of them are in every answer that lets somebody pass, empty when there is
/// nothing to say: a proxy that copies them overwrites whatever the caller sent under these names.
const IDENTITY: [HeaderName; 5] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-user-name"),
    HeaderName::from_static("x-user-email"),
    HeaderName::from_static("x-user-groups"),
    HeaderName::from_static("x-client-id"),
];

/// Why somebody does not pass.
#[derive(Debug)]
pub(super) enum Refused {
    /// Neither token nor session.
    NobodySignedIn,
    /// The token is not good here.
    InvalidToken,
    /// Known, and not allowed to.
    NotPermitted,
    /// A page of somebody else sent the request, and a browser its cookie with it.
    ForeignPage,
    /// The proxy asks in a way that makes no sense.
    BadRequest(String),
    /// The database cannot be reached, and so nobody knows what was revoked.
    Outdated,
    /// We ourselves failed: nobody passes.
    Failed(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Refused::Failed(fault)
    }
}

impl From<Unverified> for Refused {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Invalid => Refused::InvalidToken,
            Unverified::Outdated(_) => Refused::Outdated,
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Failed(error.into())
    }
}

/// Who reads a refusal.
pub(super) struct Reader {
    /// The origin of our root domain.
    root: String,
    /// The resource whose metadata a client should read.
    resource: String,
    /// A person in front of a browser.
    is_person: bool,
}

impl Reader {
    /// Somebody at the host that a trusted proxy names, or at the root.
    pub(super) fn new(site: &Site, named: Option<&HostName>, headers: &HeaderMap) -> Self {
        let resource = match named {
            Some(HostName::Mcp(label)) => site.issuer(&Realm::Mcp(label.clone())),
            _ => site.root_origin(),
        };
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_person = accepts.contains("text/html") && !headers.contains_key(header::AUTHORIZATION);
        Self { root: site.root_origin(), resource, is_person }
    }
}

/// 200: somebody passes, and this is who.
pub(super) fn passed(passed: &Passed) -> Response {
    let Passed { user, groups, client_id } = passed;
    let groups: Vec<String> = groups.iter().map(|group| escaped(group)).collect();
    let email = user.email.as_deref().unwrap_or_default();
    let values = [user.id.to_string(), escaped(&user.name), escaped(email), groups.join(","), escaped(client_id)];
    let mut headers = no_store();
    for (name, value) in IDENTITY.into_iter().zip(values) {
        // What was escaped is visible ASCII.
        headers.insert(name, HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("")));
    }
    (StatusCode::OK, headers).into_response()
}

/// Anything else: nobody passes. Never a redirect, since nginx takes one for a failure, and the address that somebody
/// wants to come back to is a stranger's to choose.
pub(super) fn refused(refused: &Refused, reader: &Reader) -> Response {
    let (status, error, text) = match refused {
        Refused::NobodySignedIn => (StatusCode::UNAUTHORIZED, "login_required", "sign in first: see WWW-Authenticate"),
        Refused::InvalidToken => (
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "the access token is invalid, expired or revoked, or was issued for another resource",
        ),
        Refused::NotPermitted => (StatusCode::FORBIDDEN, "access_denied", "you may not use this: ask an administrator"),
        Refused::ForeignPage => (StatusCode::FORBIDDEN, "access_denied", "a page of another origin sent this request"),
        Refused::BadRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why.as_str()),
        Refused::Outdated => (
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "the gateway cannot reach its database: try again shortly",
        ),
        Refused::Failed(fault) => {
            tracing::error!(%fault, "/verify failed");
            (fault.status(), "server_error", &*fault.public)
        }
    };
    let mut response = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if reader.is_person => page(status, reader),
        _ => {
            let body = serde_json::json!({ "error": error, "error_description": text });
            (status, Json(body)).into_response()
        }
    };
    response.headers_mut().extend(no_store());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let pause = HeaderValue::from(freshness::RETRY_AFTER.as_secs());
        response.headers_mut().insert(header::RETRY_AFTER, pause);
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = BearerChallenge {
            resource_metadata: Some(format!("{}{}", reader.resource, paths::PROTECTED_RESOURCE)),
            error: matches!(refused, Refused::InvalidToken).then(|| error.to_owned()),
            ..BearerChallenge::default()
        };
        if let Ok(value) = HeaderValue::try_from(challenge.to_string()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// The way to sign in, at our own address and to no other.
fn page(status: StatusCode, reader: &Reader) -> Response {
    let login = format!("{}/login", reader.root);
    let message = match status {
        StatusCode::UNAUTHORIZED => MessagePage {
            status,
            title: "Sign in first",
            text: "This page is for people who are signed in at the gateway.",
            hint: Some("Sign in, then open the address again."),
            actions: vec![("Sign in", &login)],
        },
        _ => MessagePage {
            status,
            title: "You may not open this page",
            text: "You are signed in, and this page is not for everybody.",
            hint: Some("Ask an administrator of the gateway."),
            actions: Vec::new(),
        },
    };
    page::message(&message)
}

fn no_store() -> HeaderMap {
    HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

/// Percent-encoded: what is not visible ASCII, the comma that separates groups, and the sign itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b',' | b'%' => _ = write!(escaped, "%{byte:02X}"),
            byte if byte.is_ascii_graphic() => escaped.push(char::from(byte)),
            byte => _ = write!(escaped, "%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_separate_or_break_a_header_is_escaped() {
        assert_eq!(escaped("alice"), "alice");
        assert_eq!(escaped("R&D, 50%\r\nX-User-Id: 1"), "R&D%2C%2050%25%0D%0AX-User-Id:%201");
        assert_eq!(escaped("Büro"), "B%C3%BCro");
    }

    #[test]
    fn whoever_does_not_pass_learns_why_and_a_person_learns_it_on_a_page() {
        let reader = |is_person| Reader {
            root: "https://gw.example".to_owned(),
            resource: "https://gw.example".to_owned(),
            is_person,
        };
        let answer = |refusal: Refused, is_person| refused(&refusal, &reader(is_person));
        let field =
            |response: &Response, name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        for (refusal, status) in [
            (Unverified::Outdated(crate::freshness::Outdated).into(), 503),
            (Refused::from(StoreError::Busy), 503),
            (Fault::gateway("the disk is on fire").into(), 500),
            (Refused::NotPermitted, 403),
            (Refused::ForeignPage, 403),
            (Refused::BadRequest("no".to_owned()), 400),
        ] {
            let program = answer(refusal, false);
            assert_eq!(program.status(), status);
            assert_eq!(field(&program, header::CACHE_CONTROL).as_deref(), Some("no-store"));
            assert_eq!(field(&program, header::RETRY_AFTER).is_some(), status == 503, "{status}");
            assert_eq!(field(&program, header::WWW_AUTHENTICATE), None, "{status}: signing in again helps nobody");
            assert_eq!(field(&program, header::CONTENT_TYPE).as_deref(), Some("application/json"), "{status}");
        }
        let page = answer(Refused::NotPermitted, true);
        assert_eq!(page.status(), 403);
        assert!(field(&page, header::CONTENT_TYPE).unwrap().starts_with("text/html"));
        // Who cannot be known about is no person to be shown a way to sign in.
        let page = answer(Refused::Outdated, true);
        assert_eq!(field(&page, header::CONTENT_TYPE).as_deref(), Some("application/json"));
    }
}
