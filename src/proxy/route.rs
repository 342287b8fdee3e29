//! The first step: whose is this request? Decided from the raw host and path, without I/O.

use super::reply::Refusal;
use crate::config::Kind;
use crate::hostname::{HostName, Label, Realm, Site};
use crate::ids::UserId;
use crate::paths;
use crate::upstream::{Health, HealthTable, Registry, Standing, Upstream};
use http::header;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use std::sync::Arc;
use std::time::Duration;

/// The largest head of a request, in bytes of names, values and target. Pingora itself stops at 1 MiB.
const MAX_HEAD: usize = 64 * 1024;
/// How many hostnames are remembered.
const ROUTES: u64 = 10_000;

/// Where a request goes.
pub(super) enum Route {
    /// To the control plane, in process.
    Local(Realm),
    /// To the unified endpoint, in process.
    Unified,
    /// A person typed a loopback address where the gateway is called `localhost`.
    Rename,
    /// To an upstream.
    Upstream(Arc<Target>),
}

/// An MCP hostname: the upstream behind it and the names that it goes by.
pub(super) struct Target {
    pub(super) label: Label,
    pub(super) upstream: Arc<Upstream>,
    pub(super) health: Arc<Health>,
    /// `https://<label>.gw.example`: issuer and origin of the audience alike.
    pub(super) origin: String,
    /// The registry's generation that this was looked up in.
    generation: u64,
}

impl Target {
    /// Whether an access token for `audience` is one for this hostname (decision 1).
    pub(super) fn is_audience(&self, audience: &str) -> bool {
        audience.strip_prefix(self.origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether its server is a program that we run: nothing can be forwarded to it.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.upstream.kind, Kind::Stdio(_))
    }

    /// Whether requests may be forwarded; otherwise an administrator has not decided yet.
    pub(super) fn is_usable(&self) -> bool {
        self.upstream.standing == Standing::Allowed
    }
}

/// Turns hosts into targets, remembering them.
pub(super) struct Router {
    site: Site,
    registry: Arc<Registry>,
    health: HealthTable,
    targets: moka::sync::Cache<Box<str>, Arc<Target>>,
}

impl Router {
    pub(super) fn new(site: Site, registry: Arc<Registry>, health: HealthTable) -> Self {
        let targets = moka::sync::Cache::builder().max_capacity(ROUTES).time_to_idle(Duration::from_secs(3600)).build();
        Self { site, registry, health, targets }
    }

    /// Routes a request.
    ///
    /// # Errors
    /// The refusal to send.
    pub(super) fn route(&self, session: &ServerSession) -> Result<Route, Refusal> {
        let head = session.req_header();
        check_head(head)?;
        check_target(session)?;
        let host = host_of(head)?;
        if let Some(target) = self.remembered(host) {
            return Ok(self.within(target, head));
        }
        match self.site.classify(host) {
            HostName::Root if paths::is_unified(head.uri.path()) => Ok(Route::Unified),
            HostName::Root => Ok(Route::Local(Realm::Root)),
            HostName::Loopback => Ok(Route::Rename),
            HostName::Foreign => Err(Refusal::NotFound),
            HostName::Mcp(label) => {
                let target = self.look_up(host, label).ok_or(Refusal::NotFound)?;
                Ok(self.within(target, head))
            }
        }
    }

    /// Whether a person who was admitted may still use the upstream.
    pub(super) fn still_admits(&self, user: UserId, target: &Target) -> bool {
        self.registry.find(&target.label).is_some_and(|upstream| upstream.access.admits(user))
    }

    fn within(&self, target: Arc<Target>, head: &RequestHeader) -> Route {
        if paths::is_reserved(head.uri.path()) {
            Route::Local(Realm::Mcp(target.label.clone()))
        } else {
            Route::Upstream(target)
        }
    }

    fn remembered(&self, host: &str) -> Option<Arc<Target>> {
        self.targets.get(host).filter(|target| target.generation == self.registry.generation())
    }

    fn look_up(&self, host: &str, label: Label) -> Option<Arc<Target>> {
        let generation = self.registry.generation();
        let upstream = self.registry.find(&label)?;
        let origin = self.site.origin_of(&label);
        // Anybody can make hostnames up; nothing is sent there before an administrator has decided.
        let health = match upstream.standing {
            Standing::Allowed => self.health.of(&upstream.authority),
            Standing::AwaitingApproval => self.health.unlisted(&upstream.authority),
        };
        let target = Arc::new(Target { label, upstream, health, origin, generation });
        self.targets.insert(host.into(), target.clone());
        Some(target)
    }
}

/// The request's host: `Host` for HTTP/1.1, `:authority` for HTTP/2. Pingora has made sure that they do not contradict
/// each other.
fn host_of(head: &RequestHeader) -> Result<&str, Refusal> {
    let host = match head.headers.get(header::HOST) {
        Some(value) => value.to_str().ok(),
        None => head.uri.authority().map(|authority| authority.as_str()),
    };
    let valid = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
    };
    host.filter(valid).ok_or(Refusal::BadRequest("the Host header is missing or not a host name"))
}

fn check_head(head: &RequestHeader) -> Result<(), Refusal> {
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = head.raw_path();
    if fields + target.len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge);
    }
    if head.method == http::Method::CONNECT {
        return Err(Refusal::BadRequest("this is no forward proxy"));
    }
    Ok(())
}

/// The target as it came over the wire: what parsing has dropped or replaced must not have been there (RFC 9112 §3.2).
fn check_target(session: &ServerSession) -> Result<(), Refusal> {
    let refused = Refusal::BadRequest("the request target has a character that must be percent-encoded");
    if !session.req_header().raw_path_is_utf8() {
        return Err(refused);
    }
    let Some(session) = session.as_http1() else { return Ok(()) };
    let raw = session.get_headers_raw_bytes();
    let line = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.contains(&b'#') { Err(refused) } else { Ok(()) }
}
