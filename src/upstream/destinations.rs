//! From the name that a request was sent to, to the upstream behind it: remembered for as many as there are.

use super::{Health, HealthTable, Registry, Standing, Upstream};
use crate::config::Kind;
use crate::hostname::{Label, Site, Target};
use crate::table::{Entry, Table};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// How many hostnames are remembered. Finding one again takes about two microseconds.
const REMEMBERED: usize = 1 << 17;

/// An MCP hostname: the upstream behind it and the names that it goes by.
pub struct Destination {
    /// The first label of the hostname.
    pub label: Label,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// How it does.
    pub health: Arc<Health>,
    /// `https://<label>.gw.example`: issuer and origin of the audience alike.
    pub origin: String,
    /// The registry's generation that this was looked up in.
    generation: u64,
    hash: u64,
}

/// Turns hosts into destinations, remembering those that an administrator has decided about.
pub struct Destinations {
    site: Site,
    registry: Arc<Registry>,
    health: HealthTable,
    /// By the host in its usual spelling: the end of the origin.
    table: Table<Destination>,
    /// Hosts are hashed under a secret key: nobody outside can make two of them collide.
    keys: RandomState,
}

impl Destination {
    /// Whether an access token for `audience` is one for this hostname (decision 1).
    pub fn is_audience(&self, audience: &str) -> bool {
        audience.strip_prefix(self.origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether its server is a program that we run: nothing can be forwarded to it.
    pub fn is_program(&self) -> bool {
        matches!(self.upstream.kind, Kind::Stdio(_))
    }

    /// Whether requests may be forwarded; otherwise an administrator has not decided yet.
    pub fn is_usable(&self) -> bool {
        self.upstream.standing == Standing::Allowed
    }
}

impl Destinations {
    /// Nothing is remembered yet.
    pub fn new(site: Site, registry: Arc<Registry>, health: HealthTable) -> Self {
        Self { site, registry, health, table: Table::new(REMEMBERED), keys: RandomState::new() }
    }

    /// The destination of a host that was seen before in this spelling, if nothing has changed since: the way of nearly every
    /// request.
    pub fn remembered(&self, host: &str) -> Option<Arc<Destination>> {
        let found = self.table.find(self.keys.hash_one(host), |known| host_of(&known.origin) == host)?;
        (found.generation == self.registry.generation()).then_some(found)
    }

    /// The destination of a label; `None` is a 404 (see [`Registry::find`]).
    pub fn of(&self, label: Label) -> Option<Arc<Destination>> {
        let generation = self.registry.generation();
        let origin = self.site.origin_of(&label);
        // The host in another spelling.
        if let Some(known) = self.remembered(host_of(&origin)) {
            return Some(known);
        }
        let upstream = self.registry.find(&label)?;
        let usable = upstream.standing == Standing::Allowed;
        // Anybody can make hostnames up; nothing is sent there, and they take no place, before an administrator has decided.
        let health = match usable {
            true => self.health.of(&upstream.authority),
            false => self.health.unlisted(&upstream.authority),
        };
        let hash = self.keys.hash_one(host_of(&origin));
        let label = sharing(label, &upstream);
        let destination = Arc::new(Destination { label, upstream, health, origin, generation, hash });
        if usable {
            self.table.insert(destination.clone(), |known| known.origin == destination.origin);
        }
        Some(destination)
    }

    /// The names of this gateway.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The upstreams.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Entry for Destination {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// What follows the scheme of an origin.
fn host_of(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// The same label, with the upstream's own copy of its authority.
fn sharing(label: Label, upstream: &Upstream) -> Label {
    match label.target {
        Target::Encoded(authority) if authority == upstream.authority => {
            Label { target: Target::Encoded(upstream.authority.clone()), ..label }
        }
        _ => label,
    }
}
