//! A client that sends exactly what a test wants.

use crate::gateway::Gateway;
use crate::raw::Caller;
use http::{HeaderMap, Method, StatusCode};
use portcullis::devkit::browser::{Browser, Page};
use portcullis::hostname::Realm;
use portcullis::ids::{GrantId, Random};
use portcullis::store::Grant;
use portcullis::tokens::NewToken;
use serde_json::{Value, json};
use std::time::Duration;

/// The newest version of the modern era, and of the legacy one.
pub const MODERN: &str = "2026-07-28";
pub const LEGACY: &str = "2025-11-25";

/// Somebody with a token for `/mcp`.
pub struct Guest {
    pub url: String,
    pub token: String,
    pub grant: GrantId,
    browser: Browser,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The one message in it, as JSON or as the last event.
    pub fn message(&self) -> Value {
        let text = self.body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&self.body);
        serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {:?}", self.body))
    }

    pub fn code(&self) -> i64 {
        self.message()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {}", self.body))
    }

    pub fn session(&self) -> String {
        self.headers["mcp-session-id"].to_str().unwrap().to_owned()
    }
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self { status: page.status, headers: page.headers, body: page.body }
    }
}

impl Guest {
    /// A person at the client `test`.
    pub async fn of(gateway: &Gateway, name: &str) -> Self {
        Self::at(gateway, name, "test").await
    }

    /// A person at a client.
    pub async fn at(gateway: &Gateway, name: &str, client_id: &str) -> Self {
        let (token, grant) = token(gateway, name, client_id, "/mcp", None).await;
        Self { url: format!("{}/mcp", gateway.root()), token, grant, browser: Browser::new().unwrap() }
    }

    /// The same guest with a token that leads to another resource.
    pub fn with_token(&self, token: String) -> Self {
        Self { url: self.url.clone(), token, grant: self.grant, browser: Browser::new().unwrap() }
    }

    pub async fn send(&self, method: Method, fields: &[(&str, &str)], body: Option<String>) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(fields);
        crate::client::send(&self.browser, method, &self.url, &all, body).await.into()
    }

    /// Posts a message with these fields besides the usual ones.
    pub async fn post(&self, fields: &[(&str, &str)], message: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        all.extend_from_slice(fields);
        self.send(Method::POST, &all, Some(message.to_string())).await
    }

    /// Posts a message of a session.
    pub async fn say(&self, session: &str, message: &Value) -> Answer {
        self.post(&[("mcp-session-id", session), ("mcp-protocol-version", LEGACY)], message).await
    }

    /// Begins a session.
    pub async fn initialize(&self) -> String {
        let answer = self.post(&[], &initialize(LEGACY)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let session = answer.session();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.say(&session, &initialized).await.status, StatusCode::ACCEPTED);
        session
    }

    /// A modern request with everything that belongs to it, and these fields besides.
    pub async fn modern(&self, fields: &[(&str, &str)], method: &str, params: Value) -> Answer {
        let mut all = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
        all.extend_from_slice(fields);
        self.post(&all, &modern(method, params)).await
    }

    /// Opens a stream by hand; what has come up to the end of the head.
    pub async fn open(
        &self,
        port: u16,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> (Caller, String) {
        let mut caller = Caller::connect(port).await;
        let host = self.url.split_once("://").unwrap().1.split('/').next().unwrap();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n", self.token);
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        caller.send(request).await;
        let head = caller.until("\r\n\r\n").await;
        (caller, head)
    }
}

pub fn initialize(version: &str) -> Value {
    request(
        1,
        "initialize",
        json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } }),
    )
}

pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A modern request.
pub fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    request(1, method, params)
}

/// A token of the root issuer for a resource at this path.
pub async fn token(gateway: &Gateway, name: &str, client_id: &str, path: &str, key: Option<&str>) -> (String, GrantId) {
    let (app, random) = (gateway.app(), Random::default());
    let user = app.store.user_by_name(name).await.unwrap().unwrap();
    let issuer = app.site.issuer(&Realm::Root);
    let (id, now) = (GrantId::random(&random), app.clock.now());
    let grant = Grant {
        id,
        user: user.id,
        client_id: client_id.to_owned(),
        client_name: "Test".to_owned(),
        realm: Realm::Root.key(),
        resource: format!("{issuer}{path}"),
        scope: String::new(),
        created_at: now,
        revoked_at: None,
    };
    app.store.insert_grant(&grant, None).await.unwrap();
    let new = NewToken {
        issuer: &issuer,
        resource: &grant.resource,
        user: &user,
        client_id,
        scope: "",
        grant: id,
        ttl: Duration::from_secs(3600),
        actor: None,
        confirmation: key,
    };
    (app.tokens.mint(&new).unwrap(), id)
}
