//! A gateway for benchmarks: everything on, defaults, an upstream that wants a fixed header, one person with a token.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used)] // shared by benchmarks that each need a part of it

pub mod exchange;
pub mod inputs;
pub mod parties;

use portcullis::app::App;
use portcullis::audit::{Fate, UpstreamRequest};
use portcullis::clock::Clock;
use portcullis::clock::Timestamp;
use portcullis::config::{Config, Rate, Source, UpstreamAuth, UpstreamConfig, load};
use portcullis::connect::ConnectionKey;
use portcullis::hostname::{Authority, Label};
use portcullis::ids::{GrantId, Random};
use portcullis::mcp::Method;
use portcullis::proxy::workbench::Arrived;
use portcullis::secret::Secret;
use portcullis::server::Bound;
use portcullis::store::{Role, User};
use portcullis::tokens::{AccessToken, NewToken};
use portcullis::upstream::Upstream;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// The parts of a gateway, and the sockets that it can serve on.
pub struct Bench {
    pub app: Arc<App>,
    pub bound: Option<Bound>,
    pub user: User,
    pub authority: Authority,
}

impl Bench {
    /// In front of `127.0.0.1:<port>`, its files below `directory`.
    pub async fn new(directory: &Path, port: u16) -> Self {
        Self::with(directory, port, |_| {}).await
    }

    /// The same with another configuration.
    pub async fn with(directory: &Path, port: u16, edit: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::parse(&format!("127.0.0.1:{port}")).unwrap();
        let mut config = config(directory, &authority);
        edit(&mut config);
        let bound = Bound::bind(&config.server.listen).unwrap();
        let app = App::build(config, bound.addresses(), Clock::system(), Random::default()).await.unwrap();
        let password = Secret::new("correct horse battery staple".to_owned());
        let user = app.identity.create("alice", &password, Role::Member).await.unwrap();
        Self { app: Arc::new(app), bound: Some(bound), user, authority }
    }

    pub fn label(&self) -> Label {
        Label::encode(&self.authority).unwrap()
    }

    pub fn key(&self) -> ConnectionKey {
        ConnectionKey::upstream(self.user.id, self.authority.clone(), None)
    }

    /// A token that was never seen before.
    pub fn token(&self) -> String {
        let issuer = self.app.site.origin_of(&self.label());
        let new = NewToken {
            issuer: &issuer,
            resource: &format!("{issuer}/mcp"),
            user: &self.user,
            client_id: "bench",
            scope: "",
            grant: GrantId::random(&Random::default()),
            ttl: Duration::from_secs(24 * 3600),
            actor: None,
            confirmation: None,
        };
        self.app.tokens.mint(&new).unwrap()
    }

    /// A request of the upstream's hostname, as the gateway has it before its first step.
    pub async fn arrived(&self, token: &str) -> Arrived {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let origin = self.app.site.origin_of(&self.label());
        let host = origin.split_once("://").unwrap().1;
        let head = inputs::head("POST /mcp HTTP/1.1", &inputs::request_fields(host, token));
        caller.write_all(head.as_bytes()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let app = &self.app;
        Arrived::read(stream, app.site.clone(), app.registry.clone(), app.health.clone()).await.unwrap()
    }

    pub fn upstream(&self) -> Arc<Upstream> {
        self.app.registry.find(&self.label()).unwrap()
    }

    /// A call of a tool that was answered, as it is recorded.
    pub fn ended_request(&self, token: &Arc<AccessToken>, upstream: &Arc<Upstream>) -> UpstreamRequest {
        UpstreamRequest {
            at: Timestamp(0),
            token: token.clone(),
            upstream: upstream.clone(),
            address: [127, 0, 0, 1].into(),
            method: Method::TOOLS_CALL,
            name: Some("echo".into()),
            calls_a_tool: true,
            listens: false,
            fate: Fate::Answered,
            status: Some(200),
            took: Duration::from_millis(1),
        }
    }
}

fn config(directory: &Path, authority: &Authority) -> Config {
    let environment = BTreeMap::from([
        ("XDG_STATE_HOME".to_owned(), directory.display().to_string()),
        ("PORTCULLIS__SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("PORTCULLIS__SERVER__ADMIN_LISTEN".to_owned(), String::new()),
    ]);
    let mut config = load(&Source { file: None, environment }).unwrap();
    // The limiters count; they only must not refuse one client that sends as fast as it can.
    let plenty = Rate { count: 10_000_000, period: Duration::from_secs(1), burst: 10_000_000 };
    config.limits.per_ip = plenty;
    config.limits.per_user = plenty;
    config.limits.per_user_upstream = plenty;
    config.limits.per_client = plenty;
    config.upstream.push(UpstreamConfig {
        kind: Default::default(),
        authority: authority.clone(),
        name: None,
        alias: None,
        path: None,
        auth: UpstreamAuth::Header {
            name: http::header::AUTHORIZATION,
            value: Secret::new("Bearer upstream".to_owned()),
        },
        allow_private: Some(true),
        tools: None,
        allowed: None,
    });
    config
}
