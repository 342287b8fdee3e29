//! The whole way, against a stranger who may misbehave.

mod crashing;
mod database_trouble;
mod discovering;
mod ending;
mod flow;
mod knowing;
mod node;
mod outlook;
mod parting;
mod personal;
mod refresh_model;
mod refreshing;
mod registering;
mod rotator;
pub(crate) mod seeding;
mod stepping_up;
pub(crate) mod stranger;
mod two_nodes;

use super::*;
use crate::config::{OAuthSettings, Unknown, UpstreamAuth, UpstreamConfig, Upstreams};
use crate::hostname::Scheme;
use crate::http::Resolver;
use crate::ids::Digest;
use crate::secret::Secret;
use crate::store::{Connection, ConnectionState, Role, User};
use std::collections::HashMap;
use stranger::{Reply, Stranger};

fn policy() -> Upstreams {
    Upstreams { unknown: Unknown::Ask, allow_private: true, ca_file: None, max_requests: 1024 }
}

fn upstream(authority: &Authority, auth: UpstreamAuth) -> UpstreamConfig {
    UpstreamConfig {
        authority: authority.clone(),
        name: None,
        alias: None,
        kind: Default::default(),
        path: None,
        auth,
        allow_private: None,
        tools: None,
        allowed: None,
    }
}

/// A gateway's worth of parts around one stranger.
pub(crate) struct World {
    pub(crate) stranger: Arc<Stranger>,
    pub(crate) connections: Arc<Connections>,
    store: Store,
    vault: Vault,
    clock: Clock,
    pub(crate) registry: Arc<Registry>,
    pub(crate) key: ConnectionKey,
    session: Digest,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(OAuthSettings::default()).await
    }

    async fn with(settings: OAuthSettings) -> Self {
        Self::beside(Stranger::start().await, UpstreamAuth::OAuth(Box::new(settings))).await
    }

    async fn beside(stranger: Arc<Stranger>, auth: UpstreamAuth) -> Self {
        let random = Random::default();
        let store = Store::open("sqlite::memory:").await.unwrap();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let clock = Clock::standing();
        let user = User {
            id: UserId::random(&random),
            name: "ann".to_owned(),
            password_hash: None,
            email: None,
            role: Role::Member,
            disabled: false,
            created_at: clock.now(),
        };
        store.create_user(&user).await.unwrap();
        let authority = Authority::parse(&stranger.authority).unwrap();
        let configured = UpstreamConfig { name: Some("Notes".to_owned()), ..upstream(&authority, auth) };
        let registry = Arc::new(Registry::new(&policy(), vec![configured], site(), store.clone()).await.unwrap());
        let connections = connections(&store, &vault, &registry, &clock);
        let key = ConnectionKey::upstream(user.id, authority, None);
        Self { stranger, connections, store, vault, clock, registry, key, session: Digest::of("the session") }
    }

    /// The process ends and another one begins.
    fn restart(&mut self) {
        self.connections = connections(&self.store, &self.vault, &self.registry, &self.clock);
    }

    async fn begin(&self) -> Result<Begin, ConnectError> {
        self.begin_with("", false).await
    }

    async fn begin_with(&self, scopes: &str, renew: bool) -> Result<Begin, ConnectError> {
        self.begin_at(Some("/mcp"), scopes, renew).await
    }

    async fn begin_at(&self, path: Option<&str>, scopes: &str, renew: bool) -> Result<Begin, ConnectError> {
        let request = Request {
            key: &self.key,
            path,
            scopes: &Scopes::parse(scopes).unwrap(),
            session: self.session,
            return_to: "/go/on",
            renew,
        };
        self.connections.begin(request).await
    }

    /// Where the browser is sent, as an address and as parameters.
    async fn redirect(&self, scopes: &str) -> (String, HashMap<String, String>) {
        match self.begin_with(scopes, false).await.unwrap() {
            Begin::Redirect(url) => {
                let parsed = url::Url::parse(&url).unwrap();
                (url, parsed.query_pairs().into_owned().collect())
            }
            Begin::Connected => panic!("there is a connection already"),
        }
    }

    /// The whole flow, the person consenting.
    pub(crate) async fn connect(&self) {
        let (url, _) = self.redirect("").await;
        let back = self.stranger.consent(&url);
        assert_eq!(self.connections.finish(&self.session, back).await.unwrap(), "/go/on");
    }

    async fn credential(&self) -> Result<Arc<Credential>, NoCredential> {
        self.connections.credential(&self.key).await
    }

    fn authority(&self) -> &Authority {
        match &self.key.target {
            Target::Upstream(authority) => authority,
            Target::Service(name) => panic!("{name} is a service"),
        }
    }

    async fn row(&self) -> Connection {
        self.connections.row(&self.key).await.unwrap().unwrap()
    }
}

fn site() -> Site {
    Site::new("gw.example", Scheme::Https, 443)
}

fn connections(store: &Store, vault: &Vault, registry: &Arc<Registry>, clock: &Clock) -> Arc<Connections> {
    connections_at(site(), (store, vault, registry, clock))
}

fn connections_at(
    site: Site,
    (store, vault, registry, clock): (&Store, &Vault, &Arc<Registry>, &Clock),
) -> Arc<Connections> {
    let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
    Arc::new(Connections::new(ConnectionsParts {
        store: store.clone(),
        vault: vault.clone(),
        http: http.waiting_at_most(Duration::from_millis(500)),
        registry: registry.clone(),
        site,
        clock: clock.clone(),
        random: Random::default(),
        metrics: Arc::default(),
        tracer: Default::default(),
        activity: Default::default(),
        spool: None,
    }))
}

fn bearer(credential: &Credential) -> &str {
    credential.header().unwrap().1.to_str().unwrap()
}

fn needs_consent<T>(outcome: &Result<T, NoCredential>) -> bool {
    matches!(outcome, Err(NoCredential::NeedsConsent))
}

fn in_trouble<T>(outcome: &Result<T, NoCredential>) -> bool {
    matches!(outcome, Err(NoCredential::Trouble { .. }))
}

fn failure<T>(outcome: Result<T, ConnectError>) -> (&'static str, String) {
    let error = outcome.err().expect("it should have failed");
    (error.step, error.fault.public.into_owned())
}
