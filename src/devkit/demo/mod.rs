//! `portcullis demo`: an identity provider, an authorization server, MCP servers of every transport and the gateway in front of
//! them, all on loopback and in memory.

mod configuration;
mod introduction;

use super::authorization_server::{AuthorizationServer, Options};
use super::identity_provider::{ADMINISTRATORS, CLIENT_ID, IdentityProvider};
use super::mcp::{McpServer, Protection};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{
    Allowed, Command, Kind, Launcher, OAuthSettings, OidcLogin, Sharing, UpstreamAuth, UpstreamConfig,
};
use crate::error::Fault;
use crate::hostname::{Authority, Label};
use crate::ids::Random;
use crate::secret::Secret;
use crate::server::{Bound, Running};
use crate::store::Role;
use configuration::configuration;
use introduction::{Listed, Login, hosts_hint, introduction};
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const USER: &str = "demo";
/// The identity provider, in the gateway's addresses and on the button.
const PROVIDER: (&str, &str) = ("company", "Demo Company");
/// The command of this binary that is an MCP server on standard input and output.
const PROGRAM: &str = "demo-stdio";
/// Longest time to find out whether a name resolves.
const LOOKUP: Duration = Duration::from_secs(2);

/// The demonstration. Nothing outlives it.
pub struct Demo {
    gateway: Running,
    password: Secret,
    identity: IdentityProvider,
    authorization: AuthorizationServer,
    servers: Vec<Shown>,
}

/// A demo MCP server, by its alias.
struct Shown {
    alias: &'static str,
    name: &'static str,
    path: &'static str,
    about: &'static str,
    /// `None`: a program that the gateway starts.
    server: Option<McpServer>,
}

/// Runs the demonstration on 127.0.0.1 until SIGINT or SIGTERM.
///
/// # Errors
/// When the port is taken, or a part cannot start.
pub async fn run(port: u16) -> Result<(), Fault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Fault::gateway)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::gateway)?;
    let demo = Demo::start(port, Launcher::this_executable()).await?;
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
    /// Starts everything; the gateway listens on `port` of 127.0.0.1 (0: the system chooses), and starts its program with
    /// `launcher`.
    ///
    /// # Errors
    /// When the port is taken, or a part cannot start.
    pub async fn start(port: u16, launcher: Launcher) -> Result<Self, Fault> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        check_port(address)?;
        let (clock, random) = (Clock::system(), Random::default());
        let authorization = AuthorizationServer::start(loopback(), clock.clone(), random.clone(), Options::default());
        let authorization = authorization.await.map_err(Fault::gateway)?;
        let servers = start_servers(&authorization, &random).await.map_err(Fault::gateway)?;
        let upstreams = servers.iter().map(configured).collect::<Result<Vec<_>, Fault>>()?;
        let bound = Bound::bind(&[address])?;
        let port = bound.addresses().first().map_or(port, SocketAddr::port);
        let back = format!("http://localhost:{port}/login/{}/callback", PROVIDER.0);
        let identity = IdentityProvider::start(loopback(), clock.clone(), random.clone(), back).await?;
        let mut config = configuration(address, upstreams, provider(&identity), &random);
        config.stdio.launcher = launcher;
        let app = Arc::new(App::build(config, bound.addresses(), clock, random.clone()).await?);
        let password = Secret::new(random.token()[..16].to_owned());
        app.identity.create(USER, &password, Role::Administrator).await?;
        Ok(Self { gateway: Running::start(app, bound).await?, password, identity, authorization, servers })
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
        let behind = |shown: &Shown| match &shown.server {
            Some(server) => server.url(shown.path),
            None => format!("portcullis {PROGRAM}"),
        };
        let listed = |shown: &Shown| Listed {
            about: shown.about,
            url: self.url(shown.alias, shown.path),
            behind: behind(shown),
        };
        let list: Vec<Listed> = self.servers.iter().map(listed).collect();
        let login = Login { user: USER, password: self.password.expose(), provider: PROVIDER.1 };
        introduction(&root, &login, &self.authorization.issuer(), &list)
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.gateway.stop().await;
        for server in self.servers.into_iter().filter_map(|shown| shown.server) {
            server.stop().await;
        }
        self.authorization.stop().await;
        self.identity.stop().await;
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
        let server = Some(McpServer::start(loopback(), random.clone(), protection).await?);
        servers.push(Shown { alias, name, path, about, server });
    }
    let about = "a program on standard input and output";
    servers.push(Shown { alias: "program", name: "Demo Program", path: "/mcp", about, server: None });
    Ok(servers)
}

fn configured(shown: &Shown) -> Result<UpstreamConfig, Fault> {
    let authority = match &shown.server {
        Some(server) => Authority::parse(&server.address().to_string()),
        None => Authority::of_program(shown.alias),
    };
    let kind = if shown.server.is_some() { Kind::default() } else { Kind::Stdio(Arc::new(program()?)) };
    let open = shown.server.is_none() || shown.alias == "open";
    Ok(UpstreamConfig {
        authority: authority.map_err(Fault::gateway)?,
        name: Some(shown.name.to_owned()),
        alias: Some(shown.alias.to_owned()),
        kind,
        path: Some(shown.path.to_owned()),
        auth: if open { UpstreamAuth::None } else { UpstreamAuth::OAuth(Box::<OAuthSettings>::default()) },
        allow_private: Some(true),
        tools: None,
        allowed: None,
    })
}

/// This binary, so that nothing has to be installed.
fn program() -> Result<Command, Fault> {
    Ok(Command {
        program: std::env::current_exe().map_err(Fault::gateway)?,
        args: vec![PROGRAM.to_owned()],
        search_path: String::new(),
        env: Vec::new(),
        secrets: Vec::new(),
        personal_env: Vec::new(),
        cwd: None,
        processes: Sharing::Person,
        idle: Some(Duration::from_secs(600)),
        memory: None,
    })
}

fn provider(identity: &IdentityProvider) -> OidcLogin {
    OidcLogin {
        name: PROVIDER.0.to_owned(),
        label: PROVIDER.1.to_owned(),
        issuer: identity.issuer(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: None,
        scopes: "openid profile email".to_owned(),
        allowed_domains: Some(Allowed::Everybody),
        allowed_groups: None,
        admin_groups: vec![ADMINISTRATORS.to_owned()],
        groups_claim: "groups".to_owned(),
        id_jag: false,
        allow_private: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_option() {
        let taken = TcpListener::bind(loopback()).unwrap();
        let fault = Demo::start(taken.local_addr().unwrap().port(), Launcher::Direct).await.err().unwrap();
        assert!(fault.public.contains("--port") && fault.public.contains("in use"), "{}", fault.public);
    }

    #[tokio::test]
    async fn every_demo_server_becomes_an_upstream_with_its_alias() {
        let authorization =
            AuthorizationServer::start(loopback(), Clock::standing(), Random::default(), Options::default())
                .await
                .unwrap();
        let servers = start_servers(&authorization, &Random::default()).await.unwrap();
        let upstreams: Vec<_> = servers.iter().map(|shown| configured(shown).unwrap()).collect();
        let aliases: Vec<_> = upstreams.iter().filter_map(|upstream| upstream.alias.as_deref()).collect();
        assert_eq!(aliases, ["notes", "legacy", "socket", "open", "program"]);
        for (shown, upstream) in servers.iter().zip(&upstreams) {
            match &shown.server {
                Some(server) => {
                    assert_eq!(format!("http://{}{}", upstream.authority, shown.path), server.url(shown.path))
                }
                None => assert!(upstream.authority.is_program() && upstream.kind.command().is_some()),
            }
            assert!(Label::parse(shown.alias).is_ok());
        }
    }
}
