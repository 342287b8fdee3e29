//! Requests to an upstream's token endpoint (RFC 6749 §3.2) and its answers.

use super::party::Party;
use super::sealed::{AtServer, OurClient};
use crate::error::{Culprit, Fault};
use crate::http::{FetchError, Fetched, HttpClient};
use crate::oauth::basic;
use crate::oauth::quirks::{Quirks, TokenBody};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde_json::{Map, Value};
use std::time::Duration;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

/// The longest wait before a server in trouble is asked again.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Tokens as the server gave them.
pub(super) struct Granted {
    pub(super) access_token: Zeroizing<String>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    /// How long the access token lives, if the server said so.
    pub(super) expires_in: Option<Duration>,
    /// Space-separated; `None`: what was asked for (RFC 6749 §5.1).
    pub(super) scope: Option<String>,
}

/// Why there are no tokens.
#[derive(Debug)]
pub(super) enum TokenError {
    /// The server said no, with this code.
    Refused {
        /// Such as `invalid_grant`.
        code: String,
        /// For the log.
        description: String,
    },
    /// No answer, 5xx, 429, or nonsense: nothing is known about the authorization.
    Trouble {
        /// What the server asked for.
        retry_after: Option<Duration>,
        /// What happened.
        fault: Fault,
        /// Whether the server surely did not act on the request.
        certain: bool,
    },
}

/// Sends one request, to the recorded endpoint as the recorded client. Redirects are not followed.
pub(super) async fn request(
    http: &HttpClient,
    server: &AtServer,
    party: &Party,
    parameters: &[(&str, &str)],
) -> Result<Granted, TokenError> {
    let trouble = |fault: Fault, certain| TokenError::Trouble { retry_after: None, fault, certain };
    let quirks = party.quirks_at(server);
    let request = build(server, quirks, parameters).map_err(|error| trouble(Fault::gateway(error), true))?;
    let fetched = http.send(request, party.allow_private).await.map_err(|error| {
        let never_left = matches!(error, FetchError::Url(_) | FetchError::Address { .. });
        trouble(error.into(), never_left)
    })?;
    interpret(&fetched, quirks)
}

fn build(server: &AtServer, quirks: &Quirks, parameters: &[(&str, &str)]) -> Result<Request<Bytes>, http::Error> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(parameters);
    if let Some(resource) = &server.resource {
        form.append_pair("resource", resource);
    }
    let request = start(Request::post(&server.token_endpoint), quirks);
    let request = authenticated(request, &server.client, &mut form)?;
    let form = form.finish();
    match quirks.token_body {
        TokenBody::Form => request.header(CONTENT_TYPE, FORM).body(Bytes::from(form)),
        TokenBody::Json => request.header(CONTENT_TYPE, JSON).body(Bytes::from(json_of(&form))),
    }
}

/// What every request to a provider has.
pub(super) fn start(request: Builder, quirks: &Quirks) -> Builder {
    let request = request.header(ACCEPT, JSON);
    quirks.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Authenticates our client in the way that it is registered for (RFC 6749 §2.3.1).
pub(super) fn authenticated(
    request: Builder,
    OurClient { id, secret, auth_method }: &OurClient,
    form: &mut Serializer<'_, String>,
) -> Result<Builder, http::Error> {
    match (auth_method.as_str(), secret) {
        ("client_secret_basic", Some(secret)) => {
            return Ok(request.header(AUTHORIZATION, basic::credentials(id, secret)?));
        }
        ("client_secret_post", Some(secret)) => form.append_pair("client_id", id).append_pair("client_secret", secret),
        _ => form.append_pair("client_id", id),
    };
    Ok(request)
}

/// The members of a form as an object of texts.
pub(super) fn json_of(form: &str) -> String {
    let pairs = url::form_urlencoded::parse(form.as_bytes());
    let object: Map<String, Value> =
        pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    Value::Object(object).to_string()
}

pub(super) fn interpret(fetched: &Fetched, quirks: &Quirks) -> Result<Granted, TokenError> {
    let Fetched { status, headers, .. } = fetched;
    if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS {
        return Err(nonsense(fetched, format!("answered {status}")));
    }
    let Some(members) = members(fetched) else {
        return Err(nonsense(fetched, format!("answered {status} with something that is not a token response")));
    };
    if let Some(code) = members.get("error").and_then(Value::as_str) {
        let description = members.get("error_description").and_then(Value::as_str).unwrap_or_default();
        return Err(TokenError::Refused { code: printable(code, 60), description: printable(description, 300) });
    }
    if !status.is_success() {
        let location = if headers.contains_key("location") { " (redirects are not followed)" } else { "" };
        return Err(nonsense(fetched, format!("answered {status}{location} without an error code")));
    }
    granted(&members, quirks).map_err(|why| nonsense(fetched, why.to_owned()))
}

fn granted(members: &Map<String, Value>, quirks: &Quirks) -> Result<Granted, &'static str> {
    let inner = quirks.token_member.as_ref().and_then(|inner| members.get(inner)?.as_object());
    // The answer to a refresh has the renewed token at its top.
    let members = inner.filter(|inner| inner.contains_key("access_token")).unwrap_or(members);
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access_token = text("access_token").ok_or("answered without an access token")?;
    if HeaderValue::from_str(access_token).is_err() || access_token.contains(char::is_whitespace) {
        return Err("answered with an access token that no header can carry");
    }
    let bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    if quirks.checks_token_type && !bearer {
        return Err("answered with a token that is not a Bearer token");
    }
    let seconds = members.get("expires_in").and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().or_else(|| number.as_f64().map(|float| float as u64)),
    });
    let refresh_token = text("refresh_token").map(|token| Zeroizing::new(token.to_owned()));
    // Whoever cannot refresh gains nothing by knowing.
    let usual = quirks.token_life.filter(|_| refresh_token.is_some());
    Ok(Granted {
        access_token: Zeroizing::new(access_token.to_owned()),
        refresh_token,
        expires_in: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs).or(usual),
        scope: scope_of(members).filter(|_| !quirks.all_or_nothing).map(|scope| quirks.scopes_of(&scope).to_string()),
    })
}

/// A text (RFC 6749 §5.1), or the list of texts that some servers answer with.
fn scope_of(members: &Map<String, Value>) -> Option<String> {
    match members.get("scope")? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        _ => None,
    }
}

/// JSON, or the form encoding that GitHub once began with.
pub(super) fn members(fetched: &Fetched) -> Option<Map<String, Value>> {
    let kind = fetched.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let pairs = url::form_urlencoded::parse(&fetched.body);
        return Some(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect());
    }
    serde_json::from_slice(&fetched.body).ok()
}

fn nonsense(fetched: &Fetched, what: String) -> TokenError {
    let retry_after = retry_after(&fetched.headers);
    let text = format!("the authorization server {what}");
    TokenError::Trouble {
        retry_after,
        fault: Fault { culprit: Culprit::Upstream, public: text.clone().into(), private: text },
        certain: fetched.status == StatusCode::TOO_MANY_REQUESTS,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// What a stranger wrote, fit for a line of a log.
pub(super) fn printable(text: &str, longest: usize) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &str) -> Fetched {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        Fetched { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body.to_owned()) }
    }

    fn read(fetched: &Fetched) -> Result<Granted, TokenError> {
        interpret(fetched, &Quirks::default())
    }

    #[test]
    fn b67_token_type_and_expiry() {
        let good =
            read(&answer(200, "application/json", r#"{"access_token":"a","token_type":"bEaReR"}"#)).ok().unwrap();
        assert!(good.expires_in.is_none() && good.refresh_token.is_none() && good.scope.is_none());
        let text = r#"{"access_token":"a","token_type":"Bearer","expires_in":"60","scope":"x y"}"#;
        let good = read(&answer(200, "application/json; charset=utf-8", text)).ok().unwrap();
        assert_eq!((good.expires_in, good.scope.as_deref()), (Some(Duration::from_secs(60)), Some("x y")));
        let text = r#"{"access_token":"a","token_type":"Bearer","expires_in":0,"scope":""}"#;
        let good = read(&answer(200, "application/json", text)).ok().unwrap();
        assert_eq!(
            (good.expires_in, good.scope),
            (None, None),
            "nobody gives a token that has ended, or none of its scopes"
        );
        for refused in [
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nX: y","token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            "[]",
            "",
        ] {
            assert!(matches!(read(&answer(200, "application/json", refused)), Err(TokenError::Trouble { .. })));
        }
    }

    #[test]
    fn refusals_and_trouble_are_told_apart() {
        let refused = |fetched: &Fetched| matches!(read(fetched), Err(TokenError::Refused { .. }));
        assert!(refused(&answer(400, "application/json", r#"{"error":"invalid_grant"}"#)));
        assert!(refused(&answer(200, "application/json", r#"{"error":"bad_refresh_token"}"#)));
        assert!(refused(&answer(200, "application/x-www-form-urlencoded", "error=bad_verification_code")));
        assert!(!refused(&answer(500, "application/json", r#"{"error":"invalid_grant"}"#)));
        assert!(!refused(&answer(429, "application/json", r#"{"error":"slow_down"}"#)));
        assert!(!refused(&answer(400, "text/html", "<html>")));
        assert!(!refused(&answer(302, "application/json", "{}")));
    }

    #[test]
    fn trouble_says_when_to_come_again_and_whether_the_request_was_looked_at() {
        let trouble = |status: u16, after: Option<&str>| {
            let mut fetched = answer(status, "application/json", "{}");
            fetched.headers.extend(after.map(|after| (RETRY_AFTER, after.parse().unwrap())));
            let Err(TokenError::Trouble { retry_after, certain, .. }) = read(&fetched) else { panic!("{status}") };
            (retry_after, certain)
        };
        assert_eq!(trouble(429, Some(" 7 ")), (Some(Duration::from_secs(7)), true));
        assert_eq!(trouble(429, None), (None, true));
        assert_eq!(trouble(503, Some("99999999")), (Some(LONGEST_WAIT), false));
        assert_eq!(trouble(503, Some("Wed, 21 Oct 2026 07:28:00 GMT")), (None, false));
    }

    #[test]
    fn what_a_stranger_wrote_is_one_line_of_ascii() {
        assert_eq!(printable("no such\n\u{202e}grant \x1b[31m~", 60), "no such??grant ?[31m~");
        assert_eq!(printable("four", 3), "fou");
    }

    #[test]
    fn the_person_s_own_token_at_slack() {
        let text = r#"{"ok":true,"access_token":"bot","token_type":"bot",
            "authed_user":{"access_token":"user","scope":"a,b","token_type":"user"}}"#;
        let slack = crate::providers::Providers::built_in().for_host("slack.com");
        let granted =
            interpret(&answer(200, "application/json", text), crate::connect::known::quirks(slack)).ok().unwrap();
        assert_eq!((granted.access_token.as_str(), granted.scope.as_deref()), ("user", Some("a b")));
    }
}
