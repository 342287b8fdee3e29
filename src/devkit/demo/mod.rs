//! `portcullis demo`: an authorization server, four MCP servers and the gateway in front of them, all on loopback and
//! in memory.

mod introduction;

use super::authorization_server::{AuthorizationServer, Options};
use super::mcp::{McpServer, Protection};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{
    Audit, AuditedRequests, Config, ConnectionLimits, Database, Limits, Login, OAuthSettings, Rate, SecondFactor,
    Server, SessionLives, Streams, Telemetry, Tls, Tokens, Unified, Unknown, UpstreamAuth, UpstreamConfig, Upstreams,
    VaultKeys,
};
use crate::error::Fault;
use crate::hostname::{Authority, Label};
use crate::ids::Random;
use crate::jose::SigningAlgorithm;
use crate::secret::Secret;
use crate::server::{Bound, Running};
use crate::store::{CONNECTIONS, Role};
use crate::vault::Vault;
use introduction::{Listed, hosts_hint, introduction};
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const USER: &str = "demo";
/// Longest time to find out whether a name resolves.
const LOOKUP: Duration = Duration::from_secs(2);

/// The demonstration. Nothing outlives it.
pub struct Demo {
    gateway: Running,
    password: Secret,
    authorization: AuthorizationServer,
    servers: Vec<Shown>,
}

/// A demo MCP server, by its alias.
struct Shown {
    alias: &'static str,
    name: &'static str,
    path: &'static str,
    about: &'static str,
    server: McpServer,
}

/// Runs the demonstration on 127.0.0.1 until SIGINT or SIGTERM.
///
/// # Errors
/// When the port is taken, or a part cannot start.
pub async fn run(port: u16) -> Result<(), Fault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Fault::gateway)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::gateway)?;
    let demo = Demo::start(port).await?;
    say(&demo.introduction()).map_err(Fault::gateway)?;
    if !demo.names_resolve().await {
        say(&hosts_hint(&demo.hosts())).map_err(Fault::gateway)?;
    }
    say("\nCtrl-C ends everything.\n").map_err(Fault::gateway)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    demo.stop().await;
    Ok(())
}

impl Demo {
    /// Starts everything; the gateway listens on `port` of 127.0.0.1 (0: the system chooses).
    ///
    /// # Errors
    /// When the port is taken, or a part cannot start.
    pub async fn start(port: u16) -> Result<Self, Fault> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        check_port(address)?;
        let (clock, random) = (Clock::system(), Random::default());
        let authorization = AuthorizationServer::start(loopback(), clock.clone(), random.clone(), Options::default());
        let authorization = authorization.await.map_err(Fault::gateway)?;
        let servers = start_servers(&authorization, &random).await.map_err(Fault::gateway)?;
        let upstreams = servers.iter().map(configured).collect::<Result<Vec<_>, Fault>>()?;
        let config = configuration(address, upstreams, &random);
        let bound = Bound::bind(&config.server.listen)?;
        let app = Arc::new(App::build(config, bound.addresses(), clock, random.clone()).await?);
        let password = Secret::new(random.token()[..16].to_owned());
        app.identity.create(USER, &password, Role::Administrator).await?;
        Ok(Self { gateway: Running::start(app, bound).await?, password, authorization, servers })
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// User name and password of the one person that there is.
    pub fn login(&self) -> (&str, &Secret) {
        (USER, &self.password)
    }

    /// What a person needs to know, with commands to paste.
    pub fn introduction(&self) -> String {
        let root = self.gateway.site().root_origin();
        let listed = |shown: &Shown| Listed {
            about: shown.about,
            url: self.url(shown.alias, shown.path),
            behind: shown.server.url(shown.path),
        };
        let list: Vec<Listed> = self.servers.iter().map(listed).collect();
        introduction(&root, (USER, self.password.expose()), &self.authorization.issuer(), &list)
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.gateway.stop().await;
        for shown in self.servers {
            shown.server.stop().await;
        }
        self.authorization.stop().await;
    }

    /// The host names of the servers behind the gateway.
    fn hosts(&self) -> Vec<String> {
        let domain = self.gateway.site().domain();
        self.servers.iter().map(|shown| format!("{}.{domain}", shown.alias)).collect()
    }

    /// Whether programs that ask the system find names below `localhost` (RFC 6761 §6.3); browsers and curl need not ask.
    async fn names_resolve(&self) -> bool {
        for host in self.hosts() {
            let lookup = tokio::net::lookup_host((host.as_str(), 80));
            if !matches!(tokio::time::timeout(LOOKUP, lookup).await, Ok(Ok(_))) {
                return false;
            }
        }
        true
    }

    fn url(&self, alias: &str, path: &str) -> String {
        let site = self.gateway.site();
        let origin = Label::parse(alias).map_or_else(|_| site.root_origin(), |label| site.origin_of(&label));
        format!("{origin}{path}")
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Looks before anything is built, so that the error can say which option to use.
fn check_port(address: SocketAddr) -> Result<(), Fault> {
    TcpListener::bind(address).map(drop).map_err(|error| port_error(address.port(), &error))
}

fn port_error(port: u16, error: &io::Error) -> Fault {
    let why = match error.kind() {
        ErrorKind::AddrInUse => format!("port {port} is in use: choose another one with --port, or 0 for any free one"),
        ErrorKind::PermissionDenied => format!("port {port} needs privileges: choose one above 1023 with --port"),
        _ => format!("port {port} cannot be used ({error}): choose another one with --port"),
    };
    Fault { public: why.clone().into(), ..Fault::gateway(why) }
}

async fn start_servers(authorization: &AuthorizationServer, random: &Random) -> io::Result<Vec<Shown>> {
    let mut servers = Vec::new();
    for (alias, name, path, about) in [
        ("notes", "Demo Notes", "/mcp", "Streamable HTTP, behind OAuth"),
        ("legacy", "Demo Legacy", "/sse", "HTTP+SSE of 2024-11-05, behind OAuth"),
        ("socket", "Demo Socket", "/ws", "WebSocket, behind OAuth"),
        ("open", "Demo Open", "/mcp", "Streamable HTTP, without authorization of its own"),
    ] {
        let protection = if alias == "open" { Protection::Open } else { Protection::Bearer(authorization.tokens()) };
        let server = McpServer::start(loopback(), random.clone(), protection).await?;
        servers.push(Shown { alias, name, path, about, server });
    }
    Ok(servers)
}

fn configured(shown: &Shown) -> Result<UpstreamConfig, Fault> {
    let open = shown.alias == "open";
    Ok(UpstreamConfig {
        authority: Authority::parse(&shown.server.address().to_string()).map_err(Fault::gateway)?,
        name: Some(shown.name.to_owned()),
        alias: Some(shown.alias.to_owned()),
        kind: Default::default(),
        path: Some(shown.path.to_owned()),
        auth: if open { UpstreamAuth::None } else { UpstreamAuth::OAuth(Box::<OAuthSettings>::default()) },
        allow_private: Some(true),
        tools: None,
        allowed: None,
    })
}

fn configuration(address: SocketAddr, upstream: Vec<UpstreamConfig>, random: &Random) -> Config {
    let per_second = |count| Rate { count, period: Duration::from_secs(1), burst: count * 2 };
    Config {
        server: Server {
            domain: "localhost".to_owned(),
            listen: vec![address],
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
            oidc: Vec::new(),
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
        audit: Audit { requests: AuditedRequests::Calls, keep: Duration::from_secs(24 * 3600) },
        telemetry: Telemetry { json: false, level: "warn".to_owned() },
        files: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_option() {
        let taken = TcpListener::bind(loopback()).unwrap();
        let fault = Demo::start(taken.local_addr().unwrap().port()).await.err().unwrap();
        assert!(fault.public.contains("--port") && fault.public.contains("in use"), "{}", fault.public);
    }

    #[tokio::test]
    async fn every_demo_server_becomes_an_upstream_with_its_alias() {
        let authorization =
            AuthorizationServer::start(loopback(), Clock::system(), Random::default(), Options::default())
                .await
                .unwrap();
        let servers = start_servers(&authorization, &Random::default()).await.unwrap();
        let upstreams: Vec<_> = servers.iter().map(|shown| configured(shown).unwrap()).collect();
        let aliases: Vec<_> = upstreams.iter().filter_map(|upstream| upstream.alias.as_deref()).collect();
        assert_eq!(aliases, ["notes", "legacy", "socket", "open"]);
        for (shown, upstream) in servers.iter().zip(&upstreams) {
            assert_eq!(format!("http://{}{}", upstream.authority, shown.path), shown.server.url(shown.path));
            assert!(Label::parse(shown.alias).is_ok());
        }
    }
}
