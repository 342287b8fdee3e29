//! One of several processes around one database, one connection and a [`super::rotator::Rotator`].

use super::*;
use crate::checkpoints::Hook;
use crate::connect::sealed::{AtServer, OurClient, Tokens};
use std::path::Path;

/// What all nodes agree on.
#[derive(Clone)]
pub(super) struct Installation {
    pub(super) url: String,
    pub(super) vault_key: String,
    pub(super) authority: String,
    pub(super) user: UserId,
}

pub(super) struct Node {
    pub(super) connections: Arc<Connections>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) key: ConnectionKey,
    token_endpoint: String,
}

impl Installation {
    pub(super) fn new(url: String, authority: &str) -> Self {
        let random = Random::default();
        let vault_key = Vault::generate_key(&random).expose().to_owned();
        Self { url, vault_key, authority: authority.to_owned(), user: UserId::random(&random) }
    }

    pub(super) async fn open(&self, spool: Option<&Path>) -> Node {
        let store = Store::open(&self.url).await.unwrap();
        self.node(&store, Clock::standing(), spool).await
    }

    pub(super) async fn node(&self, store: &Store, clock: Clock, spool: Option<&Path>) -> Node {
        let vault = Vault::new(&Secret::new(self.vault_key.clone()), &[]).unwrap();
        let authority = Authority::parse(&self.authority).unwrap();
        let configured = UpstreamConfig {
            authority: authority.clone(),
            name: Some("Notes".to_owned()),
            alias: None,
            kind: Default::default(),
            path: None,
            auth: UpstreamAuth::OAuth(Box::default()),
            allow_private: None,
            tools: None,
            allowed: None,
        };
        let policy = Upstreams { unknown: Unknown::Ask, allow_private: true, ca_file: None, max_requests: 1024 };
        let registry = Arc::new(Registry::new(&policy, vec![configured], site(), store.clone()).await.unwrap());
        let connections = Arc::new(Connections::new(ConnectionsParts {
            store: store.clone(),
            vault,
            http: HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap(),
            registry,
            site: site(),
            clock: clock.clone(),
            random: Random::default(),
            metrics: Arc::default(),
            tracer: Default::default(),
            activity: Default::default(),
            spool: spool.map(Path::to_owned),
        }));
        let token_endpoint = format!("http://{}/token", self.authority);
        let key = ConnectionKey::upstream(self.user, authority, None);
        Node { connections, store: store.clone(), clock, key, token_endpoint }
    }
}

impl Node {
    /// The person signs in, and gets the tokens of that number; they have just expired.
    pub(super) async fn connect(&self, number: usize) {
        let user = User {
            id: self.key.user,
            name: "ann".to_owned(),
            password_hash: None,
            email: None,
            role: Role::Member,
            disabled: false,
            created_at: self.clock.now(),
        };
        let _ = self.store.create_user(&user).await;
        let tokens = Tokens {
            access_token: format!("at-{number}"),
            refresh_token: Some(format!("rt-{number}")),
            server: Some(AtServer {
                issuer: "http://issuer.example".to_owned(),
                revocation_endpoint: None,
                token_endpoint: self.token_endpoint.clone(),
                client: OurClient { id: "us".to_owned(), secret: None, auth_method: "none".to_owned() },
                redirect_uri: String::new(),
                resource: None,
            }),
            asked: String::new(),
            replaced_rejected_at: None,
            previous_refresh_token: None,
        };
        let state = ConnectionState::Active;
        let mut row = self.connections.new_row(&self.key, state, &tokens, String::new()).unwrap();
        row.expires_at = Some(row.updated_at);
        self.store.put_connection(&row).await.unwrap();
    }

    pub(super) async fn credential(&self) -> Result<Arc<Credential>, NoCredential> {
        self.connections.credential(&self.key).await
    }

    pub(super) async fn row(&self) -> Connection {
        self.connections.row(&self.key).await.unwrap().unwrap()
    }

    /// The refresh token in the database, and the one before it.
    pub(super) async fn stored(&self) -> (String, Option<String>) {
        let tokens = self.connections.open_tokens(&self.row().await).unwrap();
        (tokens.refresh_token.clone().unwrap(), tokens.previous_refresh_token.clone())
    }

    pub(super) fn at_each_step(&self, hook: Hook) {
        self.connections.checkpoints.at_each_step(Some(hook));
    }
}
