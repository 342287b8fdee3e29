//! Assembly: every part is built once, here, and handed to the doors.

mod background;
mod doors;
mod follow;
mod heartbeat;
#[cfg(test)]
mod model;
mod reload;

pub use reload::Reloaded;

use crate::activity::Activity;
use crate::apikey::ApiKeys;
use crate::audit::Audit;
use crate::certificates::{Certificates, CertificatesParts, Expiries};
use crate::clock::Clock;
use crate::config::{self, Config, InForce, Tls};
use crate::connect::{Connections, ConnectionsParts};
use crate::error::Fault;
use crate::factors::Factors;
use crate::hostname::{Authority, Scheme, Site};
use crate::http::{HttpClient, Resolver};
use crate::identity::Identity;
use crate::identity::providers::redirect_uri;
use crate::ids::Random;
use crate::jwks::RemoteKeys;
use crate::mcp_client::{self, Clients, ClientsParts, Multiplexer};
use crate::overload::Overload;
use crate::proxy::{Gate, Parts, Phase};
use crate::ratelimit::RateLimits;
use crate::revocation::{self, Revocations};
use crate::services::{self, Pats, Services, ServicesParts};
use crate::session::Sessions;
use crate::stdio::Processes;
use crate::store::{JournalPosition, Listener, Store};
use crate::telemetry::{Metrics, Tracer};
use crate::tokens::{AccessTokens, GrantLives, SigningKeys};
use crate::unified::{Aggregate, AggregateParts, Door, DoorParts};
use crate::upstream::{HealthTable, Registry};
use crate::vault::Vault;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// All parts of a gateway.
#[allow(missing_docs)] // each is documented where it is defined
pub struct App {
    pub site: Site,
    pub clock: Clock,
    pub store: Store,
    pub vault: Vault,
    pub registry: Arc<Registry>,
    pub lives: Arc<GrantLives>,
    pub tokens: Arc<AccessTokens>,
    pub identity: Arc<Identity>,
    pub sessions: Arc<Sessions>,
    pub api_keys: Arc<ApiKeys>,
    pub factors: Arc<Factors>,
    pub connections: Arc<Connections>,
    pub revocations: Arc<Revocations>,
    pub services: Arc<Services>,
    pub certificates: Arc<Certificates>,
    pub metrics: Arc<Metrics>,
    pub overload: Arc<Overload>,
    pub audit: Audit,
    pub activity: Arc<Activity>,
    pub tracer: Tracer,
    pub resolver: Resolver,
    pub health: HealthTable,
    /// The programs that are upstreams.
    pub programs: Arc<Processes<Multiplexer>>,
    /// Our own MCP server: all upstreams as one, and what clients have open there.
    pub unified: Arc<Door>,
    aggregate: Arc<Aggregate>,
    /// Our MCP clients toward the upstreams.
    clients: Clients,
    /// In force now.
    config: ArcSwap<Config>,
    /// The same for people, with what was moved out of it.
    in_force: ArcSwap<InForce>,
    /// This process among those that serve.
    node: heartbeat::Identity,
    limits: ArcSwap<RateLimits>,
    reloading: tokio::sync::Mutex<()>,
    keys: Arc<SigningKeys>,
    /// What others sign with.
    remote_keys: Arc<RemoteKeys>,
    http: HttpClient,
    random: Random,
    /// How far memory knows the changes of the database.
    position: JournalPosition,
    /// Hears of further ones; taken by whoever follows them.
    listener: parking_lot::Mutex<Option<Listener>>,
}

impl App {
    /// Builds everything for sockets that are bound already.
    ///
    /// # Errors
    /// When the database cannot be used, the vault key does not fit, or a file is missing; the text names the fix.
    pub async fn build(config: Config, addresses: &[SocketAddr], clock: Clock, random: Random) -> Result<Self, Fault> {
        Self::build_with(config, addresses, clock, random, Resolver::system()).await
    }

    /// The same with a resolver of one's own: tests and demonstrations say where names lead.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_with(
        mut config: Config,
        addresses: &[SocketAddr],
        clock: Clock,
        random: Random,
        resolver: Resolver,
    ) -> Result<Self, Fault> {
        let site = site_of(&config, addresses);
        let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
        let vault = config::keyring(&config.vault, &random)?;
        vault.check(&store).await?;
        store.keep_group_sources(&config.login.provider_names()).await?;
        let listener = parking_lot::Mutex::new(store.listen().await?);
        let position = store.journal_position().await?;
        let lives = Arc::new(GrantLives::default());
        let (time, dice) = (clock.clone(), random.clone());
        let keys = SigningKeys::load(store.clone(), vault.clone(), time, dice, &config.tokens).await?;
        let keys = Arc::new(keys);
        let tokens = AccessTokens::new(keys.clone(), lives.clone(), clock.clone(), random.clone());
        tokens.recall_revocations(&store).await?;
        let in_force = ArcSwap::from_pointee(config.in_force());
        let configured = std::mem::take(&mut config.upstream);
        let registry = Arc::new(Registry::new(&config.upstreams, configured, site.clone(), store.clone()).await?);
        let http = HttpClient::new(resolver.clone(), config.upstreams.ca_file.as_deref())?;
        let remote_keys = RemoteKeys::new(http.clone(), clock.clone());
        let health = HealthTable::new(clock.clone(), random.clone(), config.upstreams.max_requests);
        let certificates = CertificatesParts {
            store: store.clone(),
            vault: vault.clone(),
            registry: registry.clone(),
            resolver: resolver.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let certificates = Certificates::new(certificates, &config.tls).await?;
        let metrics = Metrics::collecting(health.clone()).and_collecting(Expiries(certificates.clone()));
        let metrics = Arc::new(metrics);
        let tracer = Tracer::start(
            config.telemetry.otlp.as_ref(),
            http.clone(),
            (clock.clone(), random.clone()),
            metrics.clone(),
        );
        let activity = Arc::new(Activity::new(store.clone(), clock.clone(), &random));
        let connections = Connections::new(ConnectionsParts {
            store: store.clone(),
            vault: vault.clone(),
            http: http.clone(),
            registry: registry.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
            metrics: metrics.clone(),
            tracer: tracer.clone(),
            activity: activity.recorder().clone(),
            spool: config.spool.clone(),
        });
        connections.services().reconfigure(std::mem::take(&mut config.service));
        connections.providers().reconfigure(&config.provider);
        let connections = Arc::new(connections);
        let memory =
            revocation::Memory { lives: lives.clone(), connections: connections.clone(), registry: registry.clone() };
        let revocations = Arc::new(Revocations::new(store.clone(), clock.clone(), memory));
        let pats = Pats::new(store.clone(), vault.clone(), clock.clone());
        let services = Services::new(ServicesParts {
            connections: connections.clone(),
            revocations: revocations.clone(),
            store: store.clone(),
            pats,
            site: site.clone(),
        });
        let limits = match config.limits.shared {
            true => RateLimits::shared(&config.limits, &vault.mark("rate limits", b"")),
            false => RateLimits::new(&config.limits),
        };
        let limits = Arc::new(limits.counted(&metrics));
        let audit = Audit::new(store.clone(), clock.clone(), metrics.clone(), config.audit.requests);
        let audit = audit.counted_by(activity.recorder().clone());
        audit.write_to(config.audit.file.as_deref()).await?;
        let programs = Arc::new(Processes::new(config.stdio.clone(), metrics.clone(), Some(audit.clone())));
        let clients = Clients::new(ClientsParts {
            http: http.clone(),
            connections: connections.clone(),
            health: health.clone(),
            processes: programs.clone(),
            random: random.clone(),
            limits: mcp_client::Limits {
                response_timeout: config.streams.response_timeout,
                ..mcp_client::Limits::default()
            },
        });
        let aggregate = AggregateParts {
            registry: registry.clone(),
            connections: connections.clone(),
            clients: Arc::new(clients.clone()),
            store: store.clone(),
            vault: vault.clone(),
            audit: audit.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let aggregate = Aggregate::new(aggregate, config.unified.clone(), limits.clone());
        let door = DoorParts {
            aggregate: aggregate.clone(),
            registry: registry.clone(),
            store: store.clone(),
            vault: vault.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let local = config.login.local.as_ref();
        Ok(Self {
            activity,
            tokens: Arc::new(tokens),
            keys,
            identity: Arc::new(Identity::new(store.clone(), clock.clone(), random.clone(), local).await?),
            api_keys: Arc::new(ApiKeys::new(store.clone(), clock.clone(), random.clone())),
            factors: Arc::new(Factors::new(store.clone(), vault.clone(), clock.clone(), random.clone(), &site)),
            sessions: Arc::new(Sessions::new(
                store.clone(),
                clock.clone(),
                random.clone(),
                &site,
                config.login.sessions,
            )),
            connections,
            revocations,
            services: Arc::new(services),
            limits: ArcSwap::new(limits),
            unified: Door::new(door, &config.unified, &config.streams),
            aggregate,
            clients,
            programs,
            audit,
            certificates,
            overload: Arc::new(Overload::new(config.limits.memory, metrics.clone())),
            metrics,
            tracer,
            reloading: tokio::sync::Mutex::default(),
            config: ArcSwap::from_pointee(config),
            in_force,
            node: heartbeat::Identity::new(&random, clock.now()),
            site,
            clock,
            store,
            vault,
            registry,
            lives,
            resolver,
            remote_keys: Arc::new(remote_keys),
            http,
            random,
            health,
            position,
            listener,
        })
    }

    /// The data plane, with the control plane behind it. `alive` is dropped with the last connection.
    pub fn gate(&self, phase: watch::Receiver<Phase>, alive: oneshot::Sender<()>) -> Gate {
        let parts = Parts {
            site: self.site.clone(),
            registry: self.registry.clone(),
            tokens: self.tokens.clone(),
            connections: self.connections.clone(),
            resolver: self.resolver.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            overload: self.overload.clone(),
            audit: self.audit.clone(),
            tracer: self.tracer.clone(),
            phase,
            alive,
        };
        Gate::new(parts, self.settings())
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<RateLimits> {
        self.limits.load_full()
    }
}

/// What has to be registered at each sign-in provider and at each service: its name, and the address to which it answers.
pub(crate) fn redirect_uris(config: &Config) -> Vec<(String, String)> {
    let root = site_of(config, &config.server.listen).root_origin();
    let login = config.login.provider_names().into_iter().map(|name| (name.to_owned(), redirect_uri(&root, name)));
    let with_client = config.service.iter().filter(|service| service.client.is_some());
    let services = with_client.flat_map(|service| {
        services::redirect_uris(&root, &service.name).map(|address| (service.label.clone(), address))
    });
    login.chain(services).collect()
}

/// The names of the gateway (DESIGN 1.5). Behind a trusted proxy people come over https even though we do not speak it.
pub(crate) fn site_of(config: &Config, addresses: &[SocketAddr]) -> Site {
    let server = &config.server;
    let port = addresses.first().map_or(0, SocketAddr::port);
    let behind_proxy = !server.trusted_proxies.is_empty() && server.domain != "localhost";
    let (scheme, port) = server.public.unwrap_or(match config.tls {
        Tls::Files { .. } | Tls::Acme(_) => (Scheme::Https, port),
        Tls::Off if behind_proxy => (Scheme::Https, 443),
        Tls::Off => (Scheme::Http, port),
    });
    let mut site = Site::new(&server.domain, scheme, port);
    for address in addresses.iter().chain(&server.admin_listen) {
        let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
        if let Ok(own) = Authority::from_input(&format!("{host}:{}", address.port())) {
            site.add_own_address(own);
        }
    }
    site
}
