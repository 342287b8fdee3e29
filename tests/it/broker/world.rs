//! A service, a gateway that knows it, a program with a key, and people.

use crate::client::{alice, send};
use crate::clients::{node, retell};
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::visitors::{services, without_limits};
use http::{Method, StatusCode};
use portcullis::apikey::NewApiKey;
use portcullis::clock::Timestamp;
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::ids::ApiKeyId;
use portcullis::secret::Secret;
use portcullis::store::AuditEvent;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

const SCRIPT: &str = "service.mjs";
const PATIENCE: Duration = Duration::from_secs(60);
pub const BOB: &str = "bob";

/// Whom the provider resembles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Google,
    GitHub,
}

impl Shape {
    /// The service's name here, and the preset's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::GitHub => "github",
        }
    }
}

pub struct World {
    pub shape: Shape,
    pub gateway: Gateway,
    pub provider: Provider,
    /// Alice's.
    pub browser: Browser,
    /// Of a program that may do everything that a program may.
    pub key: Secret,
}

impl World {
    pub async fn new(shape: Shape) -> Self {
        Self::with(shape, "").await
    }

    /// With further keys of the service's configuration.
    pub async fn with(shape: Shape, more: &str) -> Self {
        let mut provider = Provider::start(shape).await;
        let configuration = format!("{}{more}", provider.configuration());
        let gateway = Gateway::with(move |config| {
            without_limits(config);
            config.service = services(&configuration);
        })
        .await;
        gateway.add(BOB).await;
        provider.serve(&gateway.root()).await;
        let mut this =
            Self { shape, gateway, provider, browser: Browser::new().unwrap(), key: Secret::new(String::new()) };
        this.key = this.key_with(NewApiKey::default()).await.1;
        this
    }

    pub async fn key_with(&self, new: NewApiKey) -> (ApiKeyId, Secret) {
        let new = NewApiKey { name: "tools".to_owned(), ..new };
        let made = self.gateway.app().api_keys.create(&new).await.unwrap();
        (made.id, made.key)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.root())
    }

    /// A program's request, with the key and JSON.
    pub async fn ask_with(&self, key: &Secret, method: Method, path: &str, body: Value) -> (Page, Value) {
        let fields = [("x-api-key", key.expose()), ("content-type", "application/json")];
        let program = Browser::new().unwrap();
        let page = send(&program, method, &self.url(path), &fields, Some(body.to_string())).await;
        let answer = serde_json::from_str(&page.body).unwrap_or(Value::Null);
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert!(!page.headers.contains_key("access-control-allow-origin"), "{path}");
        (page, answer)
    }

    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let (page, answer) = self.ask_with(&self.key, method, path, body).await;
        (page.status, answer)
    }

    /// `POST /token/{service}` for Alice.
    pub async fn token(&self) -> (StatusCode, Value) {
        self.ask(Method::POST, &format!("/token/{}", self.shape.name()), json!({ "user_id": USER })).await
    }

    /// A link for Alice.
    pub async fn link(&self) -> String {
        let (status, answer) = self.token().await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::UNAUTHORIZED, &json!("authorization_required")),
            "{answer}"
        );
        answer["auth_url"].as_str().unwrap().to_owned()
    }

    /// Alice connects the service by a link.
    pub async fn connect(&self) {
        let page = self.browser.let_device_in(&self.link().await, &alice()).await.unwrap();
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        assert!(page.text().contains("is connected"), "{}", page.text());
    }

    /// Time passes until `then`, seconds since the epoch.
    pub fn until(&self, then: i64) {
        let clock = &self.gateway.clock;
        clock.advance(Timestamp(then).since(clock.now()));
    }

    /// Everything that happened, the newest first: `(actor, action, subject)`.
    pub async fn audit(&self) -> Vec<(String, String, String)> {
        self.gateway.app().audit.flush().await;
        let events = self.gateway.app().store.audit(100).await.unwrap();
        events.into_iter().map(|AuditEvent { actor, action, subject, .. }| (actor, action, subject)).collect()
    }

    /// Whether Alice has a connection.
    pub async fn is_connected(&self, name: &str) -> bool {
        let store = &self.gateway.app().store;
        let user = store.user_by_name(name).await.unwrap().unwrap();
        !store.connections_of(user.id).await.unwrap().is_empty()
    }
}

pub fn bob() -> Credentials {
    Credentials { user: BOB.to_owned(), password: PASSWORD.to_owned() }
}

/// A page that must be one.
pub fn shown(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

/// A browser in which somebody is signed in.
pub async fn browser_of(world: &World, who: &Credentials) -> Browser {
    let browser = Browser::new().unwrap();
    let login = shown(browser.open(&world.url("/login"), "").await.unwrap());
    shown(browser.fill_login(&login, who, "").await.unwrap());
    browser
}

/// `oidc-provider` in a process of its own; it ends with this value.
pub struct Provider {
    pub issuer: String,
    shape: Shape,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Provider {
    async fn start(shape: Shape) -> Self {
        let mut child = node(SCRIPT).arg(shape.name()).stdin(Stdio::piped()).spawn().unwrap();
        tokio::spawn(retell(SCRIPT.to_owned(), child.stderr.take().unwrap()));
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { issuer: String::new(), shape, stdin, lines, _child: child };
        this.issuer = this.line().await["issuer"].as_str().unwrap().to_owned();
        this
    }

    /// The preset, with this provider's addresses.
    fn configuration(&self) -> String {
        let Self { issuer, shape, .. } = self;
        let special = match shape {
            Shape::Google => {
                format!(
                    "issuer = \"{issuer}\"\nrevocation_endpoint = \"{issuer}/token/revocation\"\nscopes = \"openid email\"\n"
                )
            }
            Shape::GitHub => {
                format!("revocation_endpoint = \"{issuer}/applications/{{client_id}}/grant\"\nscopes = \"read:user\"\n")
            }
        };
        format!(
            "[[service]]\npreset = \"{}\"\nclient_id = \"gateway\"\nclient_secret = \"hunter2\"\nallow_private = true\n\
             authorization_endpoint = \"{issuer}/auth\"\ntoken_endpoint = \"{issuer}/token\"\n{special}",
            shape.name()
        )
    }

    async fn serve(&mut self, root: &str) {
        let grants: &[&str] = match self.shape {
            Shape::Google => &["authorization_code", "refresh_token"],
            Shape::GitHub => &["authorization_code"],
        };
        let client = json!({
            "client_id": "gateway",
            "client_secret": "hunter2",
            "redirect_uris": [format!("{root}/callback/{}", self.shape.name()), format!("{root}/auth/callback")],
            "token_endpoint_auth_method": "client_secret_post",
            "grant_types": grants,
        });
        self.change(json!({ "clients": [client] })).await;
    }

    /// Changes something; what was counted so far.
    pub async fn change(&mut self, change: Value) -> Value {
        self.stdin.write_all(format!("{change}\n").as_bytes()).await.unwrap();
        self.line().await
    }

    pub async fn counted(&mut self) -> Value {
        self.change(json!({})).await
    }

    /// What the service says about a token: whose it is and what for; nothing when it does not accept it.
    pub async fn whoami(&self, token: &Value) -> Option<Value> {
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let program = Browser::new().unwrap();
        let url = format!("{}/whoami", self.issuer);
        let page = send(&program, Method::GET, &url, &[("authorization", &bearer)], None).await;
        (page.status == StatusCode::OK).then(|| serde_json::from_str(&page.body).unwrap())
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the service is slow").unwrap();
        serde_json::from_str(&line.expect("the service ended; its error is above")).unwrap()
    }
}
