//! What the examination works with.

use super::answer::{Answer, Trouble};
use super::report::Step;
use super::target::Target;
use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::http::{FetchError, HttpClient, Prober, Resolver, Reuse};
use crate::ids::Random;
use crate::providers::Providers;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// Longer answers are not read to their end.
const LARGEST: usize = 512 * 1024;

/// So many examinations of a gateway's administrators at a time.
const SEATS: usize = 2;

/// So many looks at servers that people are about to connect.
const GLANCES: usize = 8;

/// How long a look at the gateway itself is believed.
const FRESH: Duration = Duration::from_secs(60);

/// What the examination works with.
#[derive(Clone)]
pub struct Tools {
    pub(super) http: HttpClient,
    pub(super) prober: Prober,
    pub(super) resolver: Resolver,
    pub(super) clock: Clock,
    pub(super) random: Random,
    /// Whether addresses may be asked that only this machine reaches.
    pub(super) allow_private: bool,
    /// Whether clients may be registered at servers that cannot be told to forget them.
    pub(super) register: bool,
    /// The gateway that would connect to the target, `https://gw.example`, when it is known.
    pub(super) gateway: Option<String>,
    /// What is known about servers otherwise.
    pub(super) providers: Arc<Providers>,
    /// Limits are so many times shorter; for tests.
    hurry: u32,
}

/// What a gateway makes tools of when somebody asks for an examination.
pub struct Kit {
    resolver: Resolver,
    ca_file: Option<PathBuf>,
    clock: Clock,
    random: Random,
    gateway: String,
    providers: Arc<Providers>,
    /// Examinations are for people, and each of them asks dozens of questions.
    seats: Semaphore,
    /// Looks at names and certificates are small.
    glances: Arc<Semaphore>,
    /// What was seen of the gateway itself last.
    own: ArcSwapOption<Seen>,
    /// One look at the gateway itself at a time.
    looking: Mutex<()>,
}

/// A look at the gateway itself.
struct Seen {
    at: Timestamp,
    steps: Arc<[Step]>,
}

impl Kit {
    /// Of the gateway at this origin, which trusts the certificate authorities of `ca_file` where it connects.
    pub fn new(gateway: String, resolver: Resolver, ca_file: Option<PathBuf>, clock: Clock, random: Random) -> Self {
        let (providers, seats) = (Providers::built_in().clone(), Semaphore::new(SEATS));
        let (glances, own, looking) = (Arc::new(Semaphore::new(GLANCES)), ArcSwapOption::empty(), Mutex::default());
        Self { resolver, ca_file, clock, random, gateway, providers, seats, glances, own, looking }
    }

    /// With what the configuration knows about servers.
    #[must_use]
    pub fn with_providers(self, providers: Arc<Providers>) -> Self {
        Self { providers, ..self }
    }

    /// A seat for one examination; none when all are taken.
    pub fn seat(&self) -> Option<SemaphorePermit<'_>> {
        self.seats.try_acquire().ok()
    }

    /// A seat for a look at one server; none when all are taken.
    pub fn glance(&self) -> Option<OwnedSemaphorePermit> {
        self.glances.clone().try_acquire_owned().ok()
    }

    /// How the names, the port and the certificate of the gateway itself looked last, and whether that was a short while ago.
    pub fn own_entrance(&self) -> Option<(Arc<[Step]>, bool)> {
        let seen = self.own.load_full()?;
        let now = self.clock.now();
        Some((seen.steps.clone(), now >= seen.at && now.since(seen.at) < FRESH))
    }

    /// Looks at them, unless somebody has just done so.
    pub async fn look_at_own_entrance(&self) {
        let _alone = self.looking.lock().await;
        if self.own_entrance().is_some_and(|(_, fresh)| fresh) {
            return;
        }
        let (Ok(target), Ok(tools)) = (self.gateway.parse::<Target>(), self.tools()) else { return };
        // Our own names may lead to private addresses here, where others see public ones.
        let steps = super::entrance(&target, true, &tools.with_private_addresses(true)).await;
        self.own.store(Some(Arc::new(Seen { at: self.clock.now(), steps: steps.into() })));
    }

    /// The tools.
    ///
    /// # Errors
    /// When the file of certificate authorities cannot be read any more.
    pub fn tools(&self) -> Result<Tools, Fault> {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let tools = Tools::new(self.resolver.clone(), self.ca_file.as_deref(), clock, random)?;
        Ok(tools.with_providers(self.providers.clone()).for_gateway(Some(self.gateway.clone())))
    }
}

impl Tools {
    /// Tools that ask with this resolver and trust the system's certificate authorities, or only those in `ca_file`.
    /// Private addresses are left alone, and no client is registered at a stranger's.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(resolver: Resolver, ca_file: Option<&Path>, clock: Clock, random: Random) -> Result<Self, Fault> {
        let http = HttpClient::new(resolver.clone(), ca_file)?;
        let prober = Prober::new(resolver.clone(), ca_file)?;
        let (allow_private, register, gateway, hurry) = (false, false, None, 1);
        let providers = Providers::built_in().clone();
        Ok(Self { http, prober, resolver, clock, random, allow_private, register, gateway, providers, hurry })
    }

    /// Private and loopback addresses may be asked: for a person at this machine, who reaches them anyway.
    #[must_use]
    pub fn with_private_addresses(self, allow_private: bool) -> Self {
        Self { allow_private, ..self }
    }

    /// Clients may be registered at servers that keep them for ever.
    #[must_use]
    pub fn with_registration(self, register: bool) -> Self {
        Self { register, ..self }
    }

    /// The origin of the gateway on whose behalf other servers are examined.
    #[must_use]
    pub fn for_gateway(self, gateway: Option<String>) -> Self {
        Self { gateway, ..self }
    }

    /// What is known about servers otherwise, as a configuration has it.
    #[must_use]
    pub fn with_providers(self, providers: Arc<Providers>) -> Self {
        Self { providers, ..self }
    }

    /// All limits of clients so many times shorter.
    #[must_use]
    pub fn in_a_hurry(self, hurry: u32) -> Self {
        Self { hurry: hurry.max(1), ..self }
    }

    /// One request and its answer, within a client's limit.
    pub(super) async fn ask(&self, request: Request<Bytes>, limit: Duration) -> Result<Answer, Trouble> {
        let limit = limit / self.hurry;
        let started = Instant::now();
        match timeout(limit, self.exchange(request)).await {
            Ok(Ok((status, headers, body))) => {
                Ok(Answer { status, headers, body, took: started.elapsed() * self.hurry })
            }
            Ok(Err(FetchError::Timeout(_))) | Err(_) => Err(Trouble::Slow(limit * self.hurry)),
            Ok(Err(error)) => Err(Trouble::Failed(error.to_string())),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<(http::StatusCode, HeaderMap, Bytes), FetchError> {
        let reuse = if request.method().is_idempotent() { Reuse::Repeat } else { Reuse::Never };
        let mut answer = self.http.stream(request, self.allow_private, reuse).await?;
        let (status, headers) = (answer.status, answer.headers.clone());
        let mut body = Vec::new();
        // A stream of events has no end.
        if headers.get(CONTENT_TYPE).is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
            while let Some(piece) = answer.chunk().await? {
                body.extend_from_slice(&piece);
                if body.len() > LARGEST {
                    break;
                }
            }
        }
        Ok((status, headers, body.into()))
    }
}
