//! A mock identity provider (OpenID Connect Core 1.0, authorization code flow with PKCE): it asks for no password, the person
//! presses the button with a name on it. One public client, everything in memory.

use super::prover::Prover;
use super::running::Running;
use crate::clock::Clock;
use crate::error::Fault;
use crate::ids::Random;
use crate::oauth::pkce::Challenge;
use crate::paths::OPENID_CONFIGURATION;
use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The `client_id` of the one client there is.
pub const CLIENT_ID: &str = "portcullis";
/// Who is in it administers the gateway, if that is told so.
pub const ADMINISTRATORS: &str = "gateway-admins";

const CODE_LIFE: Duration = Duration::from_secs(60);
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Codes that nobody came for go when there are so many.
const MOST_CODES: usize = 1024;

/// Those who have an account: name, what they are called, their groups.
const PEOPLE: [(&str, &str, &[&str]); 2] =
    [("alex", "Alex, who administers", &[ADMINISTRATORS, "everybody"]), ("sam", "Sam, a colleague", &["everybody"])];

/// A running provider; it stops when this is dropped.
pub struct IdentityProvider {
    running: Running,
}

/// An authorization request (Core §3.1.2.1), as far as it is needed again.
#[derive(Clone, Deserialize, Serialize)]
struct Asked {
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    nonce: String,
    code_challenge: String,
}

struct Shared {
    issuer: String,
    /// Only this address is sent codes.
    redirect_uri: String,
    key: Prover,
    clock: Clock,
    random: Random,
    codes: Mutex<HashMap<String, Code>>,
}

struct Code {
    asked: Asked,
    user: String,
    expires: crate::clock::Timestamp,
}

impl IdentityProvider {
    /// Listens on `address`; codes go to `redirect_uri` alone.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no key can be made.
    pub async fn start(address: SocketAddr, clock: Clock, random: Random, redirect_uri: String) -> Result<Self, Fault> {
        let key = Prover::new()?;
        let running = Running::start(address, |address, _| {
            let issuer = format!("http://{address}");
            let shared = Arc::new(Shared { issuer, redirect_uri, key, clock, random, codes: Mutex::default() });
            Router::new()
                .route(OPENID_CONFIGURATION, get(configuration))
                .route("/jwks", get(jwks))
                .route("/authorize", get(ask).post(decide))
                .route("/token", post(token))
                .with_state(shared)
        });
        Ok(Self { running: running.await.map_err(Fault::gateway)? })
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> String {
        self.running.origin()
    }

    /// Stops and waits for the end.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

async fn configuration(State(shared): State<Arc<Shared>>) -> Response {
    let issuer = &shared.issuer;
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    let mut key = shared.key.jwk();
    key["alg"] = json!("ES256");
    key["use"] = json!("sig");
    axum::Json(json!({"keys": [key]})).into_response()
}

async fn ask(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    if asked.redirect_uri != shared.redirect_uri || Challenge::parse(&asked.code_challenge).is_none() {
        return (StatusCode::BAD_REQUEST, "only the gateway of this demonstration signs people in here")
            .into_response();
    }
    let people: Vec<_> = PEOPLE.iter().map(|(name, label, _)| (*name, *label)).collect();
    let request = serde_json::to_string(&asked).unwrap_or_default();
    match (Page { people: &people, request: &request }).render() {
        Ok(text) => ([(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Deserialize)]
struct Decision {
    request: String,
    user: String,
    decision: String,
}

async fn decide(State(shared): State<Arc<Shared>>, Form(form): Form<Decision>) -> Response {
    let asked = serde_json::from_str::<Asked>(&form.request).ok();
    let asked = asked.filter(|asked| asked.redirect_uri == shared.redirect_uri);
    let known = PEOPLE.iter().any(|(name, ..)| *name == form.user);
    let (Some(asked), true) = (asked, known) else {
        return (StatusCode::BAD_REQUEST, "start again from the gateway").into_response();
    };
    let Ok(mut url) = url::Url::parse(&asked.redirect_uri) else { return StatusCode::BAD_REQUEST.into_response() };
    url.query_pairs_mut().append_pair("state", &asked.state).append_pair("iss", &shared.issuer);
    if form.decision == "approve" {
        url.query_pairs_mut().append_pair("code", &shared.code(asked, form.user));
    } else {
        url.query_pairs_mut().append_pair("error", "access_denied");
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, url.to_string()), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

async fn token(State(shared): State<Arc<Shared>>, Form(form): Form<HashMap<String, String>>) -> Response {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let code = shared.codes.lock().remove(get("code"));
    let code = code.filter(|code| {
        code.expires > shared.clock.now()
            && get("redirect_uri") == code.asked.redirect_uri
            && Challenge::of(get("code_verifier")).as_str() == code.asked.code_challenge
    });
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    let Some(code) = code else {
        return (StatusCode::BAD_REQUEST, no_store, axum::Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let answer = json!({
        "access_token": *shared.random.token(), "token_type": "Bearer", "expires_in": TOKEN_LIFE.as_secs(),
        "id_token": shared.id_token(&code),
    });
    (no_store, axum::Json(answer)).into_response()
}

impl Shared {
    fn code(&self, asked: Asked, user: String) -> String {
        let (code, now) = (self.random.token().to_string(), self.clock.now());
        let mut codes = self.codes.lock();
        if codes.len() >= MOST_CODES {
            codes.retain(|_, code| code.expires > now);
        }
        codes.insert(code.clone(), Code { asked, user, expires: now.after(CODE_LIFE) });
        code
    }

    /// Core §2.
    fn id_token(&self, code: &Code) -> String {
        let now = self.clock.now();
        let groups =
            PEOPLE.iter().find(|(name, ..)| *name == code.user).map(|(.., groups)| *groups).unwrap_or_default();
        let claims: Value = json!({
            "iss": self.issuer, "sub": format!("demo|{}", code.user), "aud": CLIENT_ID, "nonce": code.asked.nonce,
            "iat": now.seconds(), "exp": now.after(TOKEN_LIFE).seconds(),
            "preferred_username": code.user, "email": format!("{}@demo.example", code.user), "email_verified": true,
            "groups": groups,
        });
        self.key.sign(&json!({"alg": "ES256", "typ": "JWT"}), &claims)
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Demo Company: sign in</title>
<style>
body { background: #eef3ee; color: #1d2b22; font: 17px/1.5 system-ui, sans-serif; margin: 0 }
main { background: #fff; border-top: 6px solid #2e7d4f; box-shadow: 0 2px 14px #0002; margin: 9vh auto; max-width: 27rem; padding: 2rem }
h1 { font-size: 1.35rem } form { margin: .8rem 0 }
button { background: #2e7d4f; border: 0; color: #fff; font: inherit; padding: .5rem 1.3rem; width: 100% }
button[value=deny] { background: #dfe8e1; color: inherit }
</style></head>
<body><main>
<p>Demo Company</p>
<h1>Who are you?</h1>
<p>A real identity provider would ask for more than a button.</p>
{% for (user, label) in people %}<form method="post" action="/authorize">
<input type="hidden" name="request" value="{{ request }}">
<input type="hidden" name="user" value="{{ user }}">
<button type="submit" name="decision" value="approve">{{ label }}</button>
</form>
{% endfor %}<form method="post" action="/authorize">
<input type="hidden" name="request" value="{{ request }}">
<input type="hidden" name="user" value="sam">
<button type="submit" name="decision" value="deny">Nobody</button>
</form>
</main></body></html>
"#
)]
struct Page<'a> {
    people: &'a [(&'a str, &'a str)],
    request: &'a str,
}
