//! What programs ask the broker for.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::ask::Ask;
use crate::fuzzing::Input;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use futures_util::FutureExt;
use http::{Method, header};
use serde_json::{Map, Value};

/// A request is understood as every reader of JSON or forms would understand it, or refused.
pub(crate) fn ask(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.pick(&[
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/x-www-form-urlencoded",
        "",
        "text/plain",
    ]);
    let method = input.choose(&[Method::POST, Method::DELETE]).clone();
    let body = input.rest();
    let query = String::from_utf8_lossy(body);
    let uri = if kind.is_empty() { format!("/auth/revoke?{query}") } else { "/auth/token".to_owned() };
    let Ok(uri) = uri.parse::<http::Uri>() else { return };
    let is_json = kind.to_ascii_lowercase().starts_with("application/json");
    let mut request = Request::builder().method(method.clone()).uri(uri);
    if !kind.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let request = request.body(Body::from(body.to_vec())).unwrap();
    // The whole body is there: nobody waits.
    let Ok(ask) = Ask::from_request(request, &()).now_or_never().unwrap() else { return };
    assert!(kind != "text/plain" && (!kind.is_empty() || method == Method::DELETE));
    let members: Map<String, Value> = if is_json {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => members,
            // A list of values, in the order of the parameters; or a name that nobody knows and nobody can read.
            other => return assert!(other.is_err() || other.is_ok_and(|list| list.is_array())),
        }
    } else {
        // The part behind `#` is nobody's.
        let form = if kind.is_empty() { query.split('#').next().unwrap().as_bytes() } else { body };
        let pairs: Vec<_> = url::form_urlencoded::parse(form).into_owned().collect();
        for name in ["service", "provider", "user_id", "user_email", "scope", "return_to", "redirect_uri"] {
            assert!(pairs.iter().filter(|(known, _)| known == name).count() < 2, "{name} is there twice");
        }
        pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    };
    let said = |names: [&str; 2]| {
        assert!(
            names[0] == names[1] || !names.iter().all(|name| members.contains_key(*name)),
            "two names for one thing"
        );
        let value = names.iter().find_map(|name| members.get(*name));
        value.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    assert_eq!(ask.service().ok(), said(["service", "provider"]));
    assert_eq!(ask.return_to(), said(["return_to", "redirect_uri"]));
    if let Ok(scopes) = ask.scopes() {
        let mut words: Vec<&str> =
            said(["scope", "scope"]).unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(scopes.iter().collect::<Vec<_>>(), words);
    }
}
