//! What the demonstration's gateway is configured like.

use crate::config::{
    Audit, AuditedRequests, Config, ConnectionLimits, Database, Limits, Login, OidcLogin, Origins, Rate, SecondFactor,
    Server, SessionLives, Streams, Telemetry, Tls, Tokens, Unified, Unknown, UpstreamConfig, Upstreams, VaultKeys,
};
use crate::ids::Random;
use crate::jose::SigningAlgorithm;
use crate::secret::Secret;
use crate::store::CONNECTIONS;
use crate::vault::Vault;
use std::net::SocketAddr;
use std::time::Duration;

/// The gateway's configuration: `upstream` behind it, and people who sign in at `provider`.
pub(super) fn configuration(
    address: SocketAddr,
    upstream: Vec<UpstreamConfig>,
    provider: OidcLogin,
    random: &Random,
) -> Config {
    let per_second = |count| Rate { count, period: Duration::from_secs(1), burst: count * 2 };
    Config {
        server: Server {
            domain: "localhost".to_owned(),
            listen: vec![address],
            http_listen: None,
            admin_listen: None,
            public: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            allowed_origins: Vec::new(),
            max_body: 64 * 1024 * 1024,
            kept_body: 64 * 1024,
            kept_total: 64 * 1024 * 1024,
        },
        tls: Tls::Off,
        store: Database { url: Secret::new("sqlite::memory:".to_owned()), connections: CONNECTIONS },
        spool: None,
        vault: VaultKeys { key: Some(Vault::generate_key(random)), key_file: None, previous: Vec::new(), pkcs11: None },
        login: Login {
            password: true,
            local: None,
            github: None,
            oidc: vec![provider],
            sessions: SessionLives::default(),
            second_factor: SecondFactor::Optional,
        },
        tokens: Tokens {
            access_ttl: Duration::from_secs(24 * 3600),
            refresh_ttl: Duration::from_secs(30 * 24 * 3600),
            rotation_grace: Duration::from_secs(60),
            signing_algorithm: SigningAlgorithm::Es256,
            key_rotation: None,
        },
        registration: Default::default(),
        limits: Limits {
            per_ip: per_second(100),
            per_user: per_second(100),
            per_user_upstream: per_second(100),
            per_client: per_second(100),
            token_endpoint: per_second(20),
            registration: per_second(20),
            login: Rate { count: 30, period: Duration::from_secs(60), burst: 30 },
            shared: false,
            memory: None,
            connections: ConnectionLimits::default(),
        },
        streams: Streams {
            heartbeat: Some(Duration::from_secs(15)),
            websocket_heartbeat: Some(Duration::from_secs(15)),
            max_duration: None,
            write_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(1),
            upgrade_drain: Duration::ZERO,
        },
        upstreams: Upstreams { unknown: Unknown::Ask, allow_private: true, ca_file: None, max_requests: 1024 },
        upstream,
        stdio: Default::default(),
        unified: Unified::default(),
        service: Vec::new(),
        provider: Vec::new(),
        audit: Audit { requests: AuditedRequests::Calls, keep: Duration::from_secs(24 * 3600), file: None },
        telemetry: Telemetry { json: false, level: "warn".to_owned(), otlp: None },
        files: Vec::new(),
        origins: Origins::default(),
    }
}
