//! Services against a provider that departs from the specifications in every way that real ones do, and in some more.

mod flow;
mod parting;
mod tokens;

use super::*;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{self, AuditedRequests, Source, Unknown, Upstreams};
use crate::connect::ConnectionsParts;
use crate::connect::tests::stranger::{Reply, Stranger};
use crate::hostname::Scheme;
use crate::http::{HttpClient, Resolver};
use crate::ids::Random;
use crate::revocation::Memory;
use crate::store::{ConnectionState, Role, User};
use crate::upstream::Registry;
use crate::vault::Vault;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

/// What most tests configure: nothing special.
const PLAIN: &str = "client_id = \"id\"\nclient_secret = \"secret\"\nscopes = \"base\"";

/// A gateway's worth of parts beside one provider.
struct World {
    stranger: Arc<Stranger>,
    services: Services,
    connections: Arc<Connections>,
    revocations: Arc<Revocations>,
    store: Store,
    audit: Audit,
    clock: Clock,
    user: UserId,
    session: Digest,
}

impl World {
    /// One service `it` with these keys; `{}` in them is the provider's origin.
    async fn with(keys: &str) -> Self {
        let stranger = Stranger::start().await;
        let random = Random::default();
        let store = Store::open("sqlite::memory:").await.unwrap();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let clock = Clock::standing();
        let site = Site::new("gw.example", Scheme::Https, 443);
        let policy = Upstreams { unknown: Unknown::Ask, allow_private: true, ca_file: None, max_requests: 1024 };
        let registry = Arc::new(Registry::new(&policy, Vec::new(), site.clone(), store.clone()).await.unwrap());
        let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
        let connections = Arc::new(Connections::new(ConnectionsParts {
            store: store.clone(),
            vault: vault.clone(),
            http: http.waiting_at_most(Duration::from_millis(500)),
            registry: registry.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
            metrics: Arc::default(),
            tracer: Default::default(),
            activity: Default::default(),
            spool: None,
        }));
        connections.services().reconfigure(configured(keys, &stranger));
        let memory = Memory { lives: Arc::default(), connections: connections.clone(), registry };
        let revocations = Arc::new(Revocations::new(store.clone(), clock.clone(), memory));
        let services = Services::new(ServicesParts {
            connections: connections.clone(),
            revocations: revocations.clone(),
            store: store.clone(),
            pats: Pats::new(store.clone(), vault, clock.clone()),
            site,
        });
        let audit = Audit::new(store.clone(), clock.clone(), Arc::default(), AuditedRequests::None);
        let user = add_user(&store, "ann", &clock).await;
        let session = Digest::of("the session");
        Self { stranger, services, connections, revocations, store, audit, clock, user, session }
    }

    async fn new() -> Self {
        Self::with(PLAIN).await
    }

    /// Another configuration, as a reload brings it.
    fn reconfigure(&self, keys: &str) {
        assert!(self.connections.services().reconfigure(configured(keys, &self.stranger)));
    }

    fn it(&self) -> Arc<Service> {
        self.services.find("it").unwrap()
    }

    async fn begin(&self, scopes: &str) -> (String, HashMap<String, String>) {
        self.begin_with(scopes, Callback::OfService).await
    }

    async fn begin_with(&self, scopes: &str, callback: Callback) -> (String, HashMap<String, String>) {
        let (service, scopes) = (self.it(), Scopes::parse(scopes).unwrap());
        let (user, session) = (self.user, self.session);
        let begin = Begin { service: &service, user, scopes: &scopes, session, callback, return_to: "/go/on" };
        let url = self.services.begin(begin).await.unwrap();
        let query = url::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
        (url, query)
    }

    /// The answer to what was begun, to `/callback/it`.
    async fn finish(&self, query: CallbackQuery) -> Result<Connected, ConnectError> {
        self.services.finish(&self.session, Some(&self.it().name), &query).await
    }

    /// The whole flow, the person consenting.
    async fn connect(&self) {
        self.connect_for("").await;
    }

    async fn connect_for(&self, scopes: &str) {
        let (url, _) = self.begin(scopes).await;
        let back = self.consent(&url);
        let connected = self.finish(back).await.unwrap();
        assert_eq!((connected.service.as_str(), connected.user, &*connected.return_to), ("it", self.user, "/go/on"));
    }

    /// What the browser brings back. None of these providers says who it is.
    fn consent(&self, url: &str) -> CallbackQuery {
        CallbackQuery { iss: None, ..self.stranger.consent(url) }
    }

    async fn token(&self) -> Result<ServiceToken, NoToken> {
        self.token_for("").await
    }

    async fn token_for(&self, scopes: &str) -> Result<ServiceToken, NoToken> {
        self.services.token(&self.it(), self.user, &Scopes::parse(scopes).unwrap()).await
    }

    async fn row(&self) -> Connection {
        self.services.connection(&self.it(), self.user).await.unwrap().unwrap()
    }

    /// What was audited, the newest first: action and subject.
    async fn audited(&self) -> Vec<(String, String)> {
        self.audit.flush().await;
        let events = self.store.audit(100).await.unwrap();
        events.into_iter().map(|event| (event.action, event.subject)).collect()
    }
}

async fn add_user(store: &Store, name: &str, clock: &Clock) -> UserId {
    let user = User {
        id: UserId::random(&Random::default()),
        name: name.to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: clock.now(),
    };
    store.create_user(&user).await.unwrap();
    user.id
}

/// Endpoints are the stranger's, whatever the preset says; all else is as it is written.
fn configured(keys: &str, stranger: &Stranger) -> Vec<Service> {
    let origin = &stranger.origin;
    let endpoints = match keys.contains("client_id") {
        true => format!("authorization_endpoint = \"{origin}/authorize\"\ntoken_endpoint = \"{origin}/token\"\n"),
        false => String::new(),
    };
    let text = format!("[[service]]\nname = \"it\"\nallow_private = true\n{endpoints}{}\n", keys.replace("{}", origin));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    let source = Source { file: Some(file), environment: BTreeMap::new() };
    config::load(&source).unwrap_or_else(|errors| panic!("{errors}")).service
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn failure<T>(outcome: Result<T, ConnectError>) -> (&'static str, String) {
    let error = outcome.err().expect("it should have failed");
    (error.step, error.fault.public.into_owned())
}
