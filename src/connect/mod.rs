//! Our client toward the upstreams' authorization servers: discovery, registration, authorization, refresh, and the
//! credentials that come of it.

mod advice;
mod answers;
mod authorize;
mod callback;
mod discovery;
mod flights;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod inject;
mod keeper;
mod known;
mod lives;
mod memory;
mod news;
mod outlook;
mod parting;
mod party;
mod personal;
mod refresh;
mod refusal;
mod register;
mod sealed;
mod service;
mod spool;
mod stepup;
mod table;
mod target;
mod token_endpoint;

use crate::activity::Recorder;
use crate::checkpoints::Checkpoints;
use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::hostname::{Authority, Site};
use crate::http::HttpClient;
use crate::ids::{ConnectionId, Random, UserId};
use crate::life::Life;
use crate::oauth::scope::Scopes;
use crate::providers::ProviderTable;
use crate::store::Store;
use crate::telemetry::{Metrics, Tracer};
use crate::upstream::Registry;
use crate::vault::Vault;
use answers::Answers;
use discovery::KnownScopes;
use flights::{Flights, Refreshes};
use lives::CredentialLives;
use memory::Memory;
use moka::sync::Cache;
use news::News;
pub use outlook::{Outlook, Registering, Sight, SignIn, Watch};
pub use personal::{PERSONAL_PAGE, PersonalCredentials, Remainder, page_address};
pub use service::{HeldToken, ServiceRequest};
use spool::Spool;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
pub use stepup::StepUp;
pub use table::ServiceTable;
pub use target::{ConnectionKey, Target};
use tokio::sync::{Notify, OnceCell};

/// What is injected into a request to an upstream. It can only be made here, so that nothing is forwarded without one.
pub struct Credential {
    target: Target,
    connection: Option<ConnectionId>,
    version: i64,
    header: Option<(http::HeaderName, http::HeaderValue)>,
    expires_at: Option<Timestamp>,
    life: Arc<Life>,
    /// When it was said last that it is used, in seconds.
    used: AtomicI64,
}

impl Credential {
    /// What it is for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The connection behind it; none where everybody shares a configured header or nothing is needed.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// The header to set (marked sensitive); none for an upstream that is used without authorization.
    pub fn header(&self) -> Option<&(http::HeaderName, http::HeaderValue)> {
        self.header.as_ref()
    }

    /// The access token itself, where it is one of a connection.
    pub fn access_token(&self) -> Option<&str> {
        let (_, value) = self.header.as_ref().filter(|_| self.connection.is_some())?;
        value.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// When the access token expires, if its server said so.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Ends when the connection ends, or when the upstream may not be used any longer; not with an ordinary refresh.
    pub fn life(&self) -> &Arc<Life> {
        &self.life
    }
}

/// Why there is nothing to inject.
#[derive(Clone, Debug)]
pub enum NoCredential {
    /// The person never connected this upstream (or account), or the upstream ended the authorization: the client must
    /// run the flow again.
    NeedsConsent,
    /// The upstream's authorization server is in trouble; the connection stays.
    Trouble {
        /// When to try again.
        retry_after: Duration,
        /// What happened.
        fault: Fault,
    },
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// All connections of all people. Shared behind an `Arc`.
pub struct Connections {
    store: Store,
    vault: Vault,
    http: HttpClient,
    registry: Arc<Registry>,
    services: Arc<ServiceTable>,
    providers: Arc<ProviderTable>,
    site: Site,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    activity: Recorder,
    memory: Memory,
    lives: CredentialLives,
    /// What people gave by hand.
    given: PersonalCredentials,
    news: News,
    /// The scopes of earlier discovery: in every challenge that we write, and in our metadata.
    scopes: Cache<Authority, KnownScopes>,
    /// One registration at a time per issuer.
    registering: Cache<String, Arc<tokio::sync::Mutex<()>>>,
    /// The readings under way of credentials that are not in memory.
    readings: Flights<ConnectionKey>,
    refreshes: Refreshes,
    /// Something ended that is to be given back.
    parted: Notify,
    /// What servers gave and the database does not have yet.
    answers: Answers,
    spool: Arc<Spool>,
    /// Whether the spool has been read: no server is asked before.
    adopted: OnceCell<()>,
    checkpoints: Checkpoints,
}

/// What [`Connections`] works with.
pub struct ConnectionsParts {
    /// Connections, registrations, flows.
    pub store: Store,
    /// Seals tokens and client secrets.
    pub vault: Vault,
    /// The way out.
    pub http: HttpClient,
    /// The upstreams.
    pub registry: Arc<Registry>,
    /// Our own names, for the redirect URI.
    pub site: Site,
    /// The time.
    pub clock: Clock,
    /// Randomness for `state` and PKCE.
    pub random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Begins traces, if anybody wants them.
    pub tracer: Tracer,
    /// What is counted of people's connections.
    pub activity: Recorder,
    /// Where answers wait that the database does not take; `None` for a database that keeps nothing either.
    pub spool: Option<PathBuf>,
}

/// How [`Connections::begin`] goes on.
pub enum Begin {
    /// There is a working connection with all scopes that were asked for.
    Connected,
    /// The browser must go there.
    Redirect(String),
}

/// What [`Connections::begin`] needs to know.
pub struct Request<'a> {
    /// Whose, where, which account.
    pub key: &'a ConnectionKey,
    /// The path of the MCP endpoint, when the caller's resource names one: discovery depends on it.
    pub path: Option<&'a str>,
    /// Scopes that the client asked for; empty for the upstream's own default.
    pub scopes: &'a Scopes,
    /// Digest of the session cookie: the answer must come back to the same browser.
    pub session: crate::ids::Digest,
    /// A path on the root domain, where the person goes on afterwards.
    pub return_to: &'a str,
    /// Ask for consent even when there is a working connection.
    pub renew: bool,
}

/// The query of the upstream's answer at `/oauth/callback`.
#[derive(Debug, Default, serde::Deserialize)]
#[allow(missing_docs)] // the names are those of RFC 6749 §4.1.2 and RFC 9207 §2
pub struct CallbackQuery {
    pub state: Option<String>,
    pub code: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// A failure on the way to a connection, told to the person on a page.
#[derive(Debug)]
pub struct ConnectError {
    /// What happened, and what to do about it.
    pub fault: Fault,
    /// The step that failed, such as `registration`.
    pub step: &'static str,
    /// Where the person was going, when that is known.
    pub return_to: Option<String>,
    /// The person said no at the upstream.
    pub denied: bool,
}

impl ConnectError {
    pub(crate) fn at(step: &'static str, fault: impl Into<Fault>) -> Self {
        Self { fault: fault.into(), step, return_to: None, denied: false }
    }

    fn on_the_way_to(self, path: &str) -> Self {
        Self { return_to: Some(path.to_owned()), ..self }
    }
}

impl Connections {
    /// Nothing is contacted yet.
    pub fn new(parts: ConnectionsParts) -> Self {
        let spool = Arc::new(Spool::new(parts.spool, &parts.random));
        let (store, vault, clock) = (parts.store.clone(), parts.vault.clone(), parts.clock.clone());
        Self {
            given: PersonalCredentials::new(store, vault, clock, parts.random.clone()),
            news: News::new(),
            store: parts.store,
            vault: parts.vault,
            http: parts.http,
            registry: parts.registry,
            services: Arc::default(),
            providers: Arc::default(),
            site: parts.site,
            clock: parts.clock,
            random: parts.random,
            metrics: parts.metrics,
            tracer: parts.tracer,
            activity: parts.activity,
            memory: Memory::new(),
            lives: CredentialLives::new(),
            scopes: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(60)).build(),
            registering: Cache::builder().max_capacity(10_000).time_to_idle(Duration::from_secs(60)).build(),
            readings: Flights::new(),
            refreshes: Refreshes::new(),
            parted: Notify::new(),
            answers: Answers::default(),
            spool,
            adopted: OnceCell::new(),
            checkpoints: Checkpoints::default(),
        }
    }

    /// The services that there are, besides upstreams.
    pub fn services(&self) -> &Arc<ServiceTable> {
        &self.services
    }

    /// Whether a person may use an upstream or service now, as far as memory knows.
    fn may_use(&self, user: UserId, target: &Target) -> bool {
        match target {
            Target::Upstream(authority) => self.registry.may_use(user, authority),
            Target::Service(name) => self.services.find(name).is_some(),
        }
    }

    /// Forgets the credential of a connection whose tokens changed.
    fn forget(&self, id: ConnectionId) {
        self.memory.forget(id);
    }

    /// Forgets what is in memory about all of them, after the configuration of upstreams has changed.
    pub fn forget_all(&self) {
        self.memory.forget_all();
    }
}

impl From<Fault> for NoCredential {
    fn from(fault: Fault) -> Self {
        NoCredential::Failed(fault)
    }
}

#[cfg(test)]
pub(crate) mod tests;
