//! An MCP server and its authorization server on one loopback port, as good or as bad as a test wants them.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

/// What a path answers instead of what it should.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    /// `application/x-www-form-urlencoded`.
    Form(u16, &'static str),
    Redirect(String),
    Challenge(String),
    /// 403 with that challenge.
    Forbidden(String),
    /// What an MCP server of 2026-07-28 answers to those who have that `Authorization`, and 401 to others.
    Mcp(&'static str),
    /// That challenge to a body with these words in it, that status for any other.
    ChallengeTo(&'static str, String, u16),
    /// 400 to whoever opens a session, 200 to everybody else.
    Sessionless,
    /// A head, and a body that never ends.
    Endless,
    /// Nothing at all, for ever.
    Silence,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    /// `notion-version`, which one provider asks for.
    pub(crate) version: Option<String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The parameters, however they are written.
    fn parameters(&self) -> HashMap<String, String> {
        serde_json::from_str(&self.body).unwrap_or_else(|_| self.form())
    }
}

pub(crate) struct Stranger {
    pub(crate) authority: String,
    pub(crate) origin: String,
    scripts: Mutex<HashMap<String, Reply>>,
    seen: Mutex<Vec<Seen>>,
    /// code -> code_challenge
    codes: Mutex<HashMap<String, String>>,
    /// The number of the tokens that are good now.
    generation: Mutex<u32>,
    /// Whether a refresh token is replaced at every use.
    pub(crate) rotates: Mutex<bool>,
}

impl Stranger {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let stranger = Arc::new(Self {
            origin: format!("http://{authority}"),
            authority,
            scripts: Mutex::default(),
            seen: Mutex::default(),
            codes: Mutex::default(),
            generation: Mutex::new(0),
            rotates: Mutex::new(true),
        });
        let router = Router::new().fallback(answer).with_state(stranger.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stranger
    }

    /// The issuer, which has a path so that every order of discovery shows.
    pub(crate) fn issuer(&self) -> String {
        format!("{}/tenant", self.origin)
    }

    /// From now on, `line` (`GET /path`) is answered with `reply`.
    pub(crate) fn answers(&self, line: &str, reply: Reply) {
        self.scripts.lock().insert(line.to_owned(), reply);
    }

    pub(crate) fn missing(&self, line: &str) {
        self.answers(line, Reply::Text(404, "not here"));
    }

    pub(crate) fn as_it_should(&self, line: &str) {
        self.scripts.lock().remove(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lock().iter().map(|seen| seen.line.clone()).collect()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.line == line).count()
    }

    pub(crate) fn last(&self, line: &str) -> Seen {
        self.seen.lock().iter().rfind(|seen| seen.line == line).cloned().unwrap()
    }

    /// The person consents: what the browser brings back.
    pub(crate) fn consent(&self, url: &str) -> super::CallbackQuery {
        let url = url::Url::parse(url).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        let challenge = query.get("code_challenge").cloned().unwrap_or_default();
        assert!(challenge.is_empty() || query["code_challenge_method"] == "S256");
        let code = format!("code-{}", self.codes.lock().len());
        self.codes.lock().insert(code.clone(), challenge);
        super::CallbackQuery {
            state: Some(query["state"].clone()),
            code: Some(code),
            iss: Some(self.issuer()),
            ..super::CallbackQuery::default()
        }
    }

    pub(crate) fn resource_metadata(&self) -> Value {
        json!({
            "resource": format!("{}/mcp", self.origin),
            "authorization_servers": [self.issuer()],
            "scopes_supported": ["read", "write"],
        })
    }

    pub(crate) fn server_metadata(&self) -> Value {
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{}/tenant/authorize", self.origin),
            "token_endpoint": format!("{}/tenant/token", self.origin),
            "registration_endpoint": format!("{}/tenant/register", self.origin),
            "code_challenge_methods_supported": ["plain", "S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "scopes_supported": ["read", "write", "offline_access"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn proper(&self, seen: &Seen) -> Reply {
        match seen.line.as_str() {
            "POST /mcp" | "GET /mcp" => Reply::Challenge(format!(
                "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
                self.origin
            )),
            "GET /.well-known/oauth-protected-resource/mcp" => Reply::Json(200, self.resource_metadata()),
            "GET /.well-known/oauth-authorization-server/tenant" => Reply::Json(200, self.server_metadata()),
            "POST /tenant/register" | "POST /register" => Reply::Json(201, json!({ "client_id": "dynamic" })),
            "POST /tenant/token" | "POST /token" => self.token(&seen.parameters()),
            _ => Reply::Text(404, "not here"),
        }
    }

    fn token(&self, form: &HashMap<String, String>) -> Reply {
        let mut generation = self.generation.lock();
        let good = match form["grant_type"].as_str() {
            "authorization_code" => self.codes.lock().remove(&form["code"]).is_some_and(|challenge| {
                let answered =
                    |challenge: crate::oauth::pkce::Challenge| challenge.is_answered_by(&form["code_verifier"]);
                crate::oauth::pkce::Challenge::parse(&challenge).map_or(!form.contains_key("code_verifier"), answered)
            }),
            "refresh_token" => form["refresh_token"] == format!("rt-{}", *generation) || !*self.rotates.lock(),
            _ => false,
        };
        if !good {
            return Reply::Json(400, json!({ "error": "invalid_grant" }));
        }
        *generation += 1;
        let mut granted =
            json!({ "access_token": format!("at-{}", *generation), "token_type": "bearer", "expires_in": 3600 });
        if *self.rotates.lock() || form["grant_type"] == "authorization_code" {
            granted["refresh_token"] = format!("rt-{}", *generation).into();
        }
        Reply::Json(200, granted)
    }
}

async fn answer(State(stranger): State<Arc<Stranger>>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let header = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (authorization, version) =
        (header(request.headers(), "authorization"), header(request.headers(), "notion-version"));
    let body = axum::body::to_bytes(request.into_body(), 100_000).await.unwrap();
    let seen = Seen { line: line.clone(), authorization, version, body: String::from_utf8(body.to_vec()).unwrap() };
    stranger.seen.lock().push(seen.clone());
    let scripted = stranger.scripts.lock().get(&line).cloned();
    match scripted.unwrap_or_else(|| stranger.proper(&seen)) {
        Reply::Json(status, value) => {
            respond(status, &[("content-type", "application/json")], Body::from(value.to_string()))
        }
        Reply::Text(status, text) => respond(status, &[("content-type", "text/plain")], Body::from(text)),
        Reply::Form(status, text) => {
            respond(status, &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], Body::from(text))
        }
        Reply::Redirect(to) => respond(302, &[("location", &to)], Body::empty()),
        Reply::Challenge(challenge) => respond(401, &[("www-authenticate", &challenge)], Body::empty()),
        Reply::Forbidden(challenge) => respond(403, &[("www-authenticate", &challenge)], Body::empty()),
        Reply::Mcp(accepted) if seen.authorization.as_deref() == Some(accepted) => {
            let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {}, "resultType": "complete" });
            let body = json!({ "jsonrpc": "2.0", "id": seen.json()["id"], "result": result });
            respond(200, &[("content-type", "application/json")], Body::from(body.to_string()))
        }
        Reply::Mcp(_) => respond(401, &[("www-authenticate", "Bearer error=\"invalid_token\"")], Body::empty()),
        Reply::ChallengeTo(words, challenge, _) if seen.body.contains(words) => {
            respond(401, &[("www-authenticate", &challenge)], Body::empty())
        }
        Reply::ChallengeTo(_, _, status) => respond(status, &[("mcp-session-id", "one")], Body::empty()),
        Reply::Sessionless if seen.body.contains("\"initialize\"") => respond(400, &[], Body::empty()),
        Reply::Sessionless => respond(200, &[], Body::empty()),
        Reply::Endless => {
            let chunks = futures_util::stream::repeat_with(|| {
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(&[b' '; 8192])))
            });
            respond(200, &[], Body::new(http_body_util::StreamBody::new(chunks)))
        }
        Reply::Silence => std::future::pending().await,
    }
}

fn respond(status: u16, headers: &[(&str, &str)], body: Body) -> Response {
    let builder = Response::builder().status(status);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(body).unwrap()
}
