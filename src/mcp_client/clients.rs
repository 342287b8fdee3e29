//! All clients: found or opened, once at a time for each principal, and closed when they are idle or their authorization ends.

use super::channel::{First, Multiplexer, Out};
use super::client::{Client, Link};
use super::line::Line;
use super::negotiate::{self, Began, Endpoint};
use super::streamable::Streamable;
use super::wire::Wire;
use super::{CallError, Principal, Resumption};
use crate::connect::{ConnectionKey, Connections};
use crate::error::Fault;
use crate::hostname::Authority;
use crate::http::HttpClient;
use crate::ids::Random;
use crate::life::Life;
use crate::stdio::Processes;
use crate::upstream::{HealthTable, Kind, Upstream};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use moka::sync::Cache;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Our clients of all people at all upstreams. Cloning shares them.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

/// What [`Clients`] works with.
pub struct ClientsParts {
    /// The way out.
    pub http: HttpClient,
    /// The credentials.
    pub connections: Arc<Connections>,
    /// How upstreams do; shared with the data plane.
    pub health: HealthTable,
    /// The programs that are upstreams.
    pub processes: Arc<Processes<Multiplexer>>,
    /// For handshakes.
    pub random: Random,
    /// What is bounded.
    pub limits: Limits,
}

/// What is bounded.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest wait for the head of an answer.
    pub response_timeout: Duration,
    /// The largest message of an upstream, in bytes.
    pub max_message: usize,
    /// How long a client lives that nobody uses.
    pub idle: Duration,
    /// The most clients. Beyond, those that were not used for longest are closed, unless a request is under way.
    pub max_clients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(300),
            max_message: 16 * 1024 * 1024,
            idle: Duration::from_secs(600),
            max_clients: 65_536,
        }
    }
}

struct Inner {
    wire: Arc<Wire>,
    processes: Arc<Processes<Multiplexer>>,
    /// How upstreams speak, and where.
    endpoints: Cache<(Authority, Option<String>), Endpoint>,
    table: Mutex<HashMap<Name, Place>>,
}

/// Whose client it is.
type Name = (ConnectionKey, Arc<str>);

type Opening = Shared<BoxFuture<'static, Result<Arc<Client>, CallError>>>;

enum Place {
    Opening(Opening),
    Open(Arc<Client>),
}

impl Clients {
    /// None yet.
    pub fn new(parts: ClientsParts) -> Self {
        let ClientsParts { http, connections, health, processes, random, limits } = parts;
        let wire = Arc::new(Wire { http, connections, health, random, limits });
        // Servers are renewed now and then, so what is known about them is not for ever.
        let endpoints = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(24 * 3600)).build();
        Self(Arc::new(Inner { wire, processes, endpoints, table: Mutex::default() }))
    }

    /// The client of a principal, with its session begun; the same one as long as that lasts. `before`: go on with a session that
    /// another process began, where there is none here. Whoever drops the future loses only the wait: what it has begun is
    /// there for the next one.
    ///
    /// # Errors
    /// When the upstream cannot be used.
    pub async fn open(
        &self,
        upstream: &Arc<Upstream>,
        principal: &Principal,
        before: Option<Resumption>,
    ) -> Result<Arc<Client>, CallError> {
        let name = (principal.key.clone(), principal.session.clone());
        let opening = {
            let mut table = self.0.table.lock();
            match table.get(&name) {
                Some(Place::Open(client)) if client.is_usable() => {
                    client.touch();
                    return Ok(client.clone());
                }
                Some(Place::Opening(opening)) => opening.clone(),
                Some(Place::Open(_)) | None => {
                    self.0.make_room(&mut table);
                    let opening = self.0.clone().opening(upstream.clone(), principal.clone(), before);
                    table.insert(name, Place::Opening(opening.clone()));
                    opening
                }
            }
        };
        opening.await
    }

    /// Closes every client of a session, as when the session ends.
    pub async fn end(&self, session: &str) {
        let of_session = |name: &Name| &*name.1 == session;
        let ended: Vec<Place> = {
            let mut table = self.0.table.lock();
            let names: Vec<Name> = table.keys().filter(|name| of_session(name)).cloned().collect();
            names.iter().filter_map(|name| table.remove(name)).collect()
        };
        let clients = ended.into_iter().filter_map(|place| match place {
            Place::Open(client) => Some(client),
            Place::Opening(_) => None,
        });
        futures_util::future::join_all(clients.map(|client| async move { client.close().await })).await;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.table.lock().len()
    }
}

impl Inner {
    /// Opens in a task of its own, so that nobody who leaves ends it for the others.
    fn opening(self: Arc<Self>, upstream: Arc<Upstream>, principal: Principal, before: Option<Resumption>) -> Opening {
        let name = (principal.key.clone(), principal.session.clone());
        let task = tokio::spawn(async move {
            let opened = self.opened(&upstream, &principal, before).await;
            match &opened {
                Ok((client, life)) => {
                    self.table.lock().insert(name.clone(), Place::Open(client.clone()));
                    tokio::spawn(mind(Arc::downgrade(&self), name, Arc::downgrade(client), life.clone()));
                }
                Err(_) => drop(self.table.lock().remove(&name)),
            }
            opened.map(|(client, _)| client)
        });
        let task = async move { task.await.unwrap_or_else(|error| Err(Fault::gateway(error).into())) };
        task.boxed().shared()
    }

    async fn opened(
        &self,
        upstream: &Arc<Upstream>,
        principal: &Principal,
        before: Option<Resumption>,
    ) -> Result<(Arc<Client>, Arc<Life>), CallError> {
        let life = self.wire.life(&principal.key).await?;
        let link = tokio::select! { biased;
            () = life.ended() => return Err(CallError::NeedsConsent),
            link = self.link(upstream, principal, before, &life) => link?,
        };
        Ok((Arc::new(Client::new(link, life.clone())), life))
    }

    async fn link(
        &self,
        upstream: &Arc<Upstream>,
        principal: &Principal,
        before: Option<Resumption>,
        life: &Arc<Life>,
    ) -> Result<Link, CallError> {
        if let Kind::Stdio(_) = &upstream.kind {
            return self.program(upstream, principal, life).await;
        }
        let name = (upstream.authority.clone(), upstream.path.clone());
        let began = match before.as_ref().and_then(negotiate::resume) {
            Some(resumed) => resumed,
            None => {
                let known = self.endpoints.get(&name);
                let (endpoint, began) = negotiate::begin(&self.wire, upstream, principal, known).await?;
                self.endpoints.insert(name, endpoint.clone());
                (endpoint, began)
            }
        };
        Ok(match began {
            (endpoint, Began::Session(session)) => {
                let (wire, upstream) = (self.wire.clone(), upstream.clone());
                Link::Http(Streamable::new(wire, upstream, principal.clone(), endpoint.path, session))
            }
            (_, Began::Channel(channel, server)) => {
                Link::Channel(Line::new((channel, server), principal.clone(), life.clone()))
            }
        })
    }

    /// A client of a program, on the channel that all its clients share.
    async fn program(
        &self,
        upstream: &Arc<Upstream>,
        principal: &Principal,
        life: &Arc<Life>,
    ) -> Result<Link, CallError> {
        let secrets = self.wire.connections.personal_env(&principal.key).await?;
        let attached = self.processes.attach(upstream, &principal.key, secrets, |channel| {
            let crate::stdio::Channel { outgoing, incoming, mut ended } = channel;
            let why = async move {
                let ending = ended.wait().await;
                let public = format!("the upstream's program ended: {}", ending.public);
                CallError::from(Fault::upstream(public, ending.private))
            };
            Multiplexer::over(Out::Queue(outgoing), incoming, why, Vec::new())
        });
        let attached = attached
            .await
            .map_err(|refused| CallError::Unavailable { fault: refused.fault, retry_after: refused.retry_after })?;
        attached.end_with(life);
        let channel = Arc::clone(attached.shared());
        let shared = everybody(principal);
        let server = channel.begin(&shared, First::Discover).await?;
        let line = Line::new((channel, server), principal.clone(), life.clone());
        Ok(Link::Program { line, process: attached.place() })
    }

    fn forget(&self, name: &Name, client: &Arc<Client>) {
        let mut table = self.table.lock();
        if matches!(table.get(name), Some(Place::Open(present)) if Arc::ptr_eq(present, client)) {
            table.remove(name);
        }
    }

    /// Gives up what was not used for longest, when there are too many.
    fn make_room(&self, table: &mut HashMap<Name, Place>) {
        if table.len() < self.wire.limits.max_clients {
            return;
        }
        let mut idle: Vec<(Instant, Name)> = table
            .iter()
            .filter_map(|(name, place)| match place {
                Place::Open(client) if !client.is_busy() => Some((client.used(), name.clone())),
                _ => None,
            })
            .collect();
        idle.sort_by_key(|(used, _)| *used);
        // Some at a time, so that not each that comes has to look at all.
        for (_, name) in idle.into_iter().take(self.wire.limits.max_clients / 16 + 1) {
            if let Some(Place::Open(client)) = table.remove(&name) {
                tokio::spawn(async move { client.close().await });
            }
        }
    }
}

/// Closes a client when the authorization ends that it lives by, or when nobody has used it for a while.
async fn mind(inner: Weak<Inner>, name: Name, client: Weak<Client>, life: Arc<Life>) {
    let Some(idle) = inner.upgrade().map(|inner| inner.wire.limits.idle) else { return };
    loop {
        let ended = tokio::select! {
            () = life.ended() => true,
            () = tokio::time::sleep(idle / 4 + Duration::from_millis(1)) => false,
        };
        let (Some(inner), Some(client)) = (inner.upgrade(), client.upgrade()) else { return };
        if !ended && client.is_usable() && (client.is_busy() || client.used().elapsed() < idle) {
            continue;
        }
        inner.forget(&name, &client);
        if !ended {
            client.close().await;
        }
        return;
    }
}

/// What is said for all who share a program: it is asked once, and whoever it asks has to be able to answer.
fn everybody(principal: &Principal) -> Principal {
    let capabilities = serde_json::json!({
        "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": { "listChanged": true },
    });
    Principal {
        key: principal.key.clone(),
        session: "".into(),
        info: serde_json::json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") }),
        capabilities: capabilities.as_object().cloned().unwrap_or_default(),
    }
}
