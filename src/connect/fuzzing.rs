//! What authorization servers answer, and credentials for the targets of the data plane.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::token_endpoint::{TokenError, interpret};
use super::{Credential, Target, discovery};
use crate::clock::Timestamp;
use crate::fuzzing::Input;
use crate::hostname::Authority;
use crate::http::{Fetched, check_url};
use crate::life::Life;
use crate::oauth::quirks::Quirks;
use crate::oauth::scope::Scopes;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use url::Url;

/// One that is made of nothing but what is injected.
pub(crate) fn credential(upstream: &Authority, header: Option<(HeaderName, HeaderValue)>) -> Credential {
    Credential {
        target: Target::Upstream(upstream.clone()),
        connection: None,
        version: 0,
        header,
        expires_at: None,
        life: Arc::new(Life::of([1; 16])),
        used: AtomicI64::new(0),
    }
}

/// The metadata of an issuer are looked for at that issuer and nowhere else.
pub(crate) fn well_known(issuer: &str) {
    let Ok(url) = check_url(issuer, false) else { return };
    for place in discovery::server::well_known(&url) {
        let place = Url::parse(&place).unwrap();
        assert_eq!(place.origin(), url.origin(), "{place} is not at {issuer}");
        assert!(place.path().contains("/.well-known/") && place.username().is_empty());
    }
}

/// Tokens come out of an answer only as they were in it, fit for a header; everything else is an error that says nothing of them.
pub(crate) fn token_answer(data: &[u8]) {
    const KINDS: [&str; 4] =
        ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded; x=y", "text/plain"];
    let mut input = Input::new(data);
    let status = input.pick(&[200, 201, 302, 400, 401, 403, 429, 500, 503]);
    let kind = input.pick(&KINDS);
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    if let (true, Ok(value)) = (input.coin(), HeaderValue::from_bytes(input.bytes(20))) {
        headers.insert(RETRY_AFTER, value);
    }
    let quirks = Quirks {
        token_member: input.coin().then(|| "authed_user".to_owned()),
        checks_token_type: input.coin(),
        token_life: input.coin().then(|| Duration::from_secs(3600)),
        granted_scope_separator: input.coin().then(|| ",".to_owned()),
        ..Quirks::default()
    };
    let body = input.rest();
    let fetched =
        Fetched { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::copy_from_slice(body) };
    let said: Map<String, Value> = if kind.starts_with("application/x-www") {
        url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
    } else {
        serde_json::from_slice(body).unwrap_or_default()
    };
    match interpret(&fetched, &quirks) {
        Ok(granted) => {
            assert!(fetched.status.is_success());
            HeaderValue::from_str(&format!("Bearer {}", *granted.access_token)).unwrap();
            assert!(!granted.access_token.is_empty() && !granted.access_token.contains(char::is_whitespace));
            let inner = said.get("authed_user").and_then(Value::as_object);
            let sources = [Some(&said), inner];
            let is_said = |name: &str, value: &str| {
                sources.iter().flatten().any(|one| one.get(name).is_some_and(|said| said == value))
            };
            assert!(is_said("access_token", &granted.access_token));
            assert!(granted.refresh_token.as_ref().is_none_or(|token| is_said("refresh_token", token)));
            if let Some(life) = granted.expires_in {
                assert!(!life.is_zero());
                let now = Timestamp(1_800_000_000);
                assert!(now.after(life) >= now, "a token that lives {life:?} has expired");
            }
            if let Some(scope) = granted.scope {
                Scopes::lenient(scope.split(' '));
            }
        }
        Err(TokenError::Refused { code, description }) => {
            assert!(code.len() <= 60 && description.len() <= 300);
            assert!([code, description].iter().all(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~'))));
        }
        Err(TokenError::Trouble { retry_after, fault, .. }) => {
            assert!(retry_after.is_none_or(|wait| wait <= Duration::from_secs(15)));
            let token = said.get("access_token").and_then(Value::as_str).filter(|token| token.len() > 12);
            assert!(token.is_none_or(|token| !fault.private.contains(token) && !fault.public.contains(token)));
        }
    }
}
