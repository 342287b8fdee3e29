//! Against real servers, and against sockets that misbehave on purpose.

mod channels;
mod credentials;
mod eras;
mod hearing;
mod hostile;
mod scripted;
mod sessions;

use super::*;
use crate::clock::Clock;
use crate::config::{Unknown, UpstreamAuth, UpstreamConfig, Upstreams};
use crate::connect::{Connections, ConnectionsParts};
use crate::devkit::mcp::{McpServer, Protection};
use crate::hostname::{Authority, Scheme, Site};
use crate::http::{HttpClient, Resolver};
use crate::ids::{Random, UserId};
use crate::store::{Role, Store, User};
use crate::upstream::{Access, HealthTable, Kind, Registry, Standing, Transport, Upstream};
use crate::vault::Vault;
use scripted::Scripted;
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;

/// A gateway's worth of parts around some upstreams.
pub(super) struct World {
    clients: Clients,
    registry: Arc<Registry>,
    health: HealthTable,
    user: UserId,
}

impl World {
    /// Upstreams at these authorities, which want nothing of anybody.
    async fn around(upstreams: &[(&str, Transport, Option<&str>)]) -> Self {
        Self::with(upstreams, Limits { response_timeout: Duration::from_secs(5), ..Limits::default() }).await
    }

    async fn with(upstreams: &[(&str, Transport, Option<&str>)], limits: Limits) -> Self {
        let configured = upstreams.iter().map(|(authority, transport, path)| configured(authority, *transport, *path));
        let (random, clock) = (Random::default(), Clock::standing());
        let store = Store::open("sqlite::memory:").await.unwrap();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let user = user(&random, &clock);
        store.create_user(&user).await.unwrap();
        let policy = Upstreams { unknown: Unknown::Deny, allow_private: true, ca_file: None, max_requests: 4096 };
        let site = Site::new("gw.example", Scheme::Https, 443);
        let registry = Registry::new(&policy, configured.collect(), site.clone(), store.clone()).await.unwrap();
        let registry = Arc::new(registry);
        let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
        let connections = Arc::new(Connections::new(ConnectionsParts {
            store,
            vault,
            http: http.clone(),
            registry: registry.clone(),
            site,
            clock: clock.clone(),
            random: random.clone(),
            metrics: Arc::default(),
            tracer: Default::default(),
            activity: Default::default(),
            spool: None,
        }));
        let health = HealthTable::new(clock, random, 4096);
        let clients = clients(http, connections, health.clone(), limits);
        Self { clients, registry, health, user: user.id }
    }

    fn upstream(&self, authority: &str) -> Arc<Upstream> {
        self.registry.by_authority(&Authority::parse(authority).unwrap()).unwrap()
    }

    /// Whom a session of the person's at an upstream is for.
    fn principal(&self, authority: &str, session: &str) -> Principal {
        principal(ConnectionKey::upstream(self.user, Authority::parse(authority).unwrap(), None), session)
    }

    async fn open(&self, authority: &str, session: &str) -> Result<Arc<Client>, CallError> {
        self.clients.open(&self.upstream(authority), &self.principal(authority, session), None).await
    }
}

fn clients(http: HttpClient, connections: Arc<Connections>, health: HealthTable, limits: Limits) -> Clients {
    let processes = Arc::new(crate::stdio::Processes::new(Default::default(), Arc::default(), None));
    Clients::new(ClientsParts { http, connections, health, processes, random: Random::default(), limits })
}

fn principal(key: ConnectionKey, session: &str) -> Principal {
    let capabilities = json!({ "elicitation": {} }).as_object().cloned().unwrap();
    Principal { key, session: session.into(), info: json!({ "name": "a client", "version": "1" }), capabilities }
}

fn user(random: &Random, clock: &Clock) -> User {
    User {
        id: UserId::random(random),
        name: "ann".to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: clock.now(),
    }
}

fn configured(authority: &str, transport: Transport, path: Option<&str>) -> UpstreamConfig {
    UpstreamConfig {
        authority: Authority::parse(authority).unwrap(),
        name: None,
        alias: None,
        kind: Kind::Http { transport },
        path: path.map(str::to_owned),
        auth: UpstreamAuth::None,
        allow_private: None,
        tools: None,
        allowed: None,
    }
}

/// An upstream that nobody is connected to.
pub(super) fn upstream_at(authority: &str) -> Upstream {
    Upstream {
        authority: Authority::parse(authority).unwrap(),
        name: authority.to_owned(),
        alias: None,
        kind: Kind::default(),
        path: None,
        auth: Arc::new(UpstreamAuth::None),
        allow_private: true,
        standing: Standing::Allowed,
        access: Access::Everybody,
        tools: None,
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn demo() -> (McpServer, String) {
    let server = McpServer::start(loopback(), Random::default(), Protection::Open).await.unwrap();
    let authority = server.address().to_string();
    (server, authority)
}

fn call(method: &str, params: Value) -> Call {
    let params = params.as_object().cloned().unwrap_or_default();
    Call { method: method.to_owned(), params, log_level: None, mirrored: Vec::new() }
}

fn tool(name: &str, arguments: Value) -> Call {
    call("tools/call", json!({ "name": name, "arguments": arguments }))
}

/// Somewhere for events to go, and where they come out.
fn events() -> (Events, mpsc::Receiver<Event>) {
    mpsc::channel(64)
}

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (Fault, Option<Duration>) {
    match outcome {
        Err(CallError::Unavailable { fault, retry_after }) => (fault, retry_after),
        other => panic!("it should not be available: {other:?}"),
    }
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

async fn next_notification(events: &mut mpsc::Receiver<Event>) -> Notification {
    match tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap() {
        Event::Notification(notification) => notification,
        Event::Request(request) => panic!("it is a request: {request:?}"),
    }
}
