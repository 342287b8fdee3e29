//! The aggregate over real sockets, without a door.

mod calls;
mod connecting;
mod lists;
mod server;

use super::*;
use crate::audit::Audit;
use crate::config::{
    AuditedRequests, ConnectionLimits, Limits, PersonalHeader, Rate, Unknown, UpstreamAuth, UpstreamConfig, Upstreams,
};
use crate::connect::{ConnectionsParts, PersonalCredentials};
use crate::hostname::Scheme;
use crate::http::{HttpClient, Resolver};
use crate::ids::{GrantId, UserId};
use crate::life::Life;
use crate::mcp::ToolPolicy;
use crate::mcp::era::Era;
use crate::mcp_client::ClientsParts;
use crate::secret::Secret;
use crate::store::{Role, User};
use crate::tokens::{AccessToken, Terms};
use crate::unified::Outgoing;
use crate::upstream::HealthTable;
use serde_json::json;
use server::Server;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// A gateway's worth of parts around some upstreams, with two people.
struct World {
    aggregate: Arc<Aggregate>,
    store: Store,
    vault: Vault,
    clock: Clock,
    registry: Arc<Registry>,
    connections: Arc<Connections>,
    audit: Audit,
    ann: UserId,
    bob: UserId,
}

/// What an upstream is called, and how one gets in.
struct Seat<'a> {
    server: &'a Server,
    alias: &'a str,
    /// People have keys of their own.
    personal: bool,
    tools: Option<ToolPolicy>,
}

fn seat<'a>(server: &'a Server, alias: &'a str) -> Seat<'a> {
    Seat { server, alias, personal: false, tools: None }
}

fn personal<'a>(server: &'a Server, alias: &'a str) -> Seat<'a> {
    Seat { personal: true, ..seat(server, alias) }
}

impl World {
    async fn of(seats: Vec<Seat<'_>>) -> Self {
        let (random, clock) = (Random::default(), Clock::standing());
        let store = Store::open("sqlite::memory:").await.unwrap();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let site = Site::new("gw.example", Scheme::Https, 443);
        let [ann, bob] = [user("ann", &random, &clock), user("bob", &random, &clock)];
        for user in [&ann, &bob] {
            store.create_user(user).await.unwrap();
        }
        let policy = Upstreams { unknown: Unknown::Deny, allow_private: true, ca_file: None, max_requests: 4096 };
        let configured = seats.into_iter().map(configured).collect();
        let registry = Arc::new(Registry::new(&policy, configured, site.clone(), store.clone()).await.unwrap());
        let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
        let connections = Arc::new(Connections::new(ConnectionsParts {
            store: store.clone(),
            vault: vault.clone(),
            http: http.clone(),
            registry: registry.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
            metrics: Arc::default(),
            tracer: Default::default(),
            activity: Default::default(),
            spool: None,
        }));
        let audit = Audit::new(store.clone(), clock.clone(), Arc::default(), AuditedRequests::Calls);
        let clients = Clients::new(ClientsParts {
            http,
            connections: connections.clone(),
            health: HealthTable::new(clock.clone(), random.clone(), 4096),
            processes: Arc::new(crate::stdio::Processes::new(Default::default(), Arc::default(), None)),
            random: random.clone(),
            limits: Default::default(),
        });
        let parts = AggregateParts {
            registry: registry.clone(),
            connections: connections.clone(),
            clients: Arc::new(clients),
            store: store.clone(),
            vault: vault.clone(),
            audit: audit.clone(),
            site,
            clock: clock.clone(),
            random,
        };
        let aggregate = Aggregate::new(parts, unified(), limits(1_000_000));
        Self { aggregate, store, vault, clock, registry, connections, audit, ann: ann.id, bob: bob.id }
    }

    fn caller(&self, user: UserId, era: Era) -> Caller {
        let random = Random::default();
        let grant = GrantId::random(&random);
        let terms = Terms { client_id: "a client".into(), ..Terms::default() };
        let expires_at = self.clock.now().after(Duration::from_secs(3600));
        let token = AccessToken::new((user, "ann"), terms, Arc::new(Life::of(grant.0)), expires_at);
        Caller {
            user,
            life: token.life.clone(),
            token: Some(Arc::new(token)),
            address: [192, 0, 2, 1].into(),
            client_id: "a client".into(),
            grant,
            era,
            version: "of no account".to_owned(),
            info: json!({ "name": "a client", "version": "1" }),
            capabilities: json!({ "elicitation": { "form": {}, "url": {} } }).as_object().cloned().unwrap(),
            log_level: None,
            session: (*random.token()).clone().into(),
            view: View::Everything,
            meta_tools: false,
            headers: http::HeaderMap::new(),
            trace: None,
        }
    }

    /// The person gives an upstream their key.
    async fn connect(&self, user: UserId, server: &Server, key: &str) {
        let authority = Authority::parse(&server.authority).unwrap();
        let upstream = self.registry.by_authority(&authority).unwrap();
        let credentials =
            PersonalCredentials::new(self.store.clone(), self.vault.clone(), self.clock.clone(), Random::default());
        let name = ConnectionKey::upstream(user, authority, None);
        let secret = Secret::new(key.to_owned());
        let connection = credentials.with(&name, &upstream, &[("x-api-key", &secret)]).await.unwrap();
        let id = self.store.put_connection(&connection).await.unwrap();
        // What the journal would do.
        self.connections.catch_up(id).await.unwrap();
    }

    async fn ask(&self, caller: &Caller, method: &str, params: Value) -> Result<Value, RpcError> {
        let (back, _other_end) = Back::new(64);
        self.aggregate.handle(caller, request(method, params), &back).await
    }

    /// What a list has.
    async fn names(&self, caller: &Caller) -> Vec<String> {
        let list = self.ask(caller, "tools/list", json!({})).await.unwrap();
        names(&list)
    }
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn request(method: &str, params: Value) -> Request {
    Request { id: 1.into(), method: method.to_owned(), params: params.as_object().cloned().unwrap() }
}

fn unified() -> Unified {
    Unified { list_timeout: Duration::from_secs(2), ..Unified::default() }
}

fn limits(per_user_upstream: u32) -> Arc<RateLimits> {
    let rate = |count| Rate { count, period: Duration::from_secs(3600), burst: count };
    Arc::new(RateLimits::new(&Limits {
        per_ip: rate(1),
        per_user: rate(1),
        per_user_upstream: rate(per_user_upstream),
        per_client: rate(1),
        token_endpoint: rate(1),
        registration: rate(1),
        login: rate(1),
        shared: false,
        memory: None,
        connections: ConnectionLimits::default(),
    }))
}

fn user(name: &str, random: &Random, clock: &Clock) -> User {
    User {
        id: UserId::random(random),
        name: name.to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: clock.now(),
    }
}

fn configured(seat: Seat<'_>) -> UpstreamConfig {
    let header = PersonalHeader { name: http::HeaderName::from_static("x-api-key"), prefix: String::new() };
    UpstreamConfig {
        authority: Authority::parse(&seat.server.authority).unwrap(),
        name: Some(seat.alias.to_uppercase()),
        alias: Some(seat.alias.to_owned()),
        kind: Default::default(),
        path: Some("/mcp".to_owned()),
        auth: if seat.personal { UpstreamAuth::Personal(header) } else { UpstreamAuth::None },
        allow_private: None,
        tools: seat.tools,
        allowed: None,
    }
}

/// Answers every question, and keeps what was told.
fn answering(mut outgoing: mpsc::Receiver<Outgoing>, reply: Value) -> tokio::task::JoinHandle<Vec<(String, Value)>> {
    tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(message) = outgoing.recv().await {
            match message {
                Outgoing::Notification(told) => heard.push((told.method, Value::Object(told.params))),
                Outgoing::Ask { method, params, answer, .. } => {
                    heard.push((method, Value::Object(params)));
                    drop(answer.send(Ok(reply.clone())));
                }
            }
        }
        heard
    })
}
