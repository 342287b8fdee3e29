//! A gateway in this process, on a port of its own, with everything real but the clock.

use portcullis::app::{App, Reloaded};
use portcullis::clock::Clock;
use portcullis::config::{Config, Rate, Source, UpstreamAuth, UpstreamConfig, load};
use portcullis::error::Fault;
use portcullis::hostname::{Authority, Label, Realm, Scheme};
use portcullis::http::Resolver;
use portcullis::ids::{GrantId, Random, UserId};
use portcullis::secret::Secret;
use portcullis::server::{Bound, Running};
use portcullis::store::{Grant, Role};
use portcullis::tokens::NewToken;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// The administrator of every test gateway.
pub const USER: &str = "alice";
/// Her password.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running gateway.
pub struct Gateway {
    running: Option<Running>,
    directory: Arc<TempDir>,
    edit: Arc<dyn Fn(&mut Config) + Send + Sync>,
    /// Where names lead; no others lead anywhere.
    names: HashMap<String, Vec<IpAddr>>,
    asked_port: u16,
    /// Bound, so that no other test gets it, and refuses connections, as nobody listens.
    kept_port: Option<TcpSocket>,
    pub clock: Clock,
}

impl Gateway {
    /// With the defaults for one's own machine, and loopback upstreams allowed.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With these loopback upstreams configured, their authorization discovered.
    pub async fn with_upstreams(authorities: &[&str]) -> Self {
        let authorities: Vec<String> = authorities.iter().map(|text| (*text).to_owned()).collect();
        Self::with(move |config| {
            for authority in &authorities {
                config.upstream.push(upstream(authority, UpstreamAuth::OAuth(Box::default())));
            }
        })
        .await
    }

    /// With a configuration of one's own.
    pub async fn with(edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self::with_names(&[], edit).await
    }

    /// The same, with names that lead to this machine.
    pub async fn with_names(names: &[&str], edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let here = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        Self::with_addresses(names.iter().map(|name| ((*name).to_owned(), here.clone())).collect(), edit).await
    }

    /// The same, with names that lead to these addresses.
    pub async fn with_addresses(
        names: HashMap<String, Vec<IpAddr>>,
        edit: impl Fn(&mut Config) + Send + Sync + 'static,
    ) -> Self {
        let gateway = Self::unclaimed(names, edit).await;
        gateway.app().identity.create(USER, &Secret::new(PASSWORD.to_owned()), Role::Administrator).await.unwrap();
        gateway
    }

    /// The same, without the administrator.
    pub async fn unclaimed(
        names: HashMap<String, Vec<IpAddr>>,
        edit: impl Fn(&mut Config) + Send + Sync + 'static,
    ) -> Self {
        let gateway = Self {
            running: None,
            directory: Arc::new(TempDir::new().unwrap()),
            edit: Arc::new(edit),
            names,
            asked_port: 0,
            kept_port: None,
            clock: Clock::system(),
        };
        gateway.run(0).await
    }

    /// Adds somebody with everybody's password.
    pub async fn add(&self, name: &str) -> UserId {
        let password = Secret::new(PASSWORD.to_owned());
        let id = self.app().identity.create(name, &password, Role::Member).await.unwrap().id;
        // Sooner than the journal says it.
        self.app().registry.reload_people().await.unwrap();
        id
    }

    /// Stops, and starts again on the same files and the same port.
    pub async fn restart(mut self) -> Self {
        let port = self.halt().await;
        self.run(port).await
    }

    /// Stops; the port on which it listened, and which nobody gets until it is [resumed](Self::resume).
    pub async fn halt(&mut self) -> u16 {
        let port = self.port();
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        let kept = TcpSocket::new_v4().unwrap();
        kept.set_reuseaddr(true).unwrap();
        kept.bind(([127, 0, 0, 1], port).into()).unwrap();
        self.kept_port = Some(kept);
        port
    }

    /// Starts again after [`Gateway::halt`], with another configuration.
    pub async fn resume(mut self, port: u16, differs: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let edit = self.edit.clone();
        self.edit = Arc::new(move |config| {
            edit(config);
            differs(config);
        });
        self.run(port).await
    }

    /// Another process on the same database, behind the same public address, with a clock of its own.
    pub async fn beside(&self) -> Self {
        let (edit, public) = (self.edit.clone(), (Scheme::Http, self.port()));
        let other = Self {
            running: None,
            directory: self.directory.clone(),
            edit: Arc::new(move |config| {
                edit(config);
                config.server.public = Some(public);
            }),
            names: self.names.clone(),
            asked_port: 0,
            kept_port: None,
            clock: Clock::system(),
        };
        other.run(0).await
    }

    /// Another process on the same database and with the same configuration and clock, but for `differs`, at an address of
    /// its own.
    pub async fn another(&self, differs: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let edit = self.edit.clone();
        let other = Self {
            running: None,
            directory: self.directory.clone(),
            edit: Arc::new(move |config| {
                edit(config);
                differs(config);
            }),
            names: self.names.clone(),
            asked_port: 0,
            kept_port: None,
            clock: self.clock.clone(),
        };
        other.run(0).await
    }

    /// Puts another configuration in force: that of the start, edited.
    pub async fn reload(&self, edit: impl FnOnce(&mut Config)) -> Result<Reloaded, Fault> {
        let mut config = self.config();
        edit(&mut config);
        self.running.as_ref().unwrap().reload(config).await
    }

    fn config(&self) -> Config {
        let mut config = config(self.directory.path());
        config.server.listen = vec![([127, 0, 0, 1], self.asked_port).into()];
        config.streams.drain = Duration::from_secs(5);
        (self.edit)(&mut config);
        config
    }

    async fn run(mut self, port: u16) -> Self {
        crate::logs::collect();
        self.asked_port = port;
        let config = self.config();
        let bound = Bound::bind(&config.server.listen).unwrap();
        self.kept_port = None;
        let resolver = Resolver::fixed(self.names.clone());
        let (clock, random) = (self.clock.clone(), Random::default());
        let app = App::build_with(config, bound.addresses(), clock, random, resolver).await.unwrap();
        self.running = Some(Running::start(Arc::new(app), bound).await.unwrap());
        self
    }

    pub fn app(&self) -> &Arc<App> {
        self.running.as_ref().unwrap().app()
    }

    pub fn port(&self) -> u16 {
        self.running.as_ref().unwrap().address().port()
    }

    /// `http://localhost:<port>`.
    pub fn root(&self) -> String {
        self.app().site.root_origin()
    }

    /// The origin of an upstream's MCP hostname.
    pub fn url_of(&self, authority: &str) -> String {
        self.app().site.origin_of(&label(authority))
    }

    /// The value of `Host` for an upstream.
    pub fn host_of(&self, authority: &str) -> String {
        self.url_of(authority).split_once("://").unwrap().1.to_owned()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the gateway keeps on the disk, below its state directory: path and content of every file.
    pub fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut directories, mut files) = (vec![self.directory().join("portcullis")], Vec::new());
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    files.push((path, bytes));
                }
            }
        }
        files
    }

    /// A token for an upstream's `/mcp`, and its grant, without the flow that leads there.
    pub async fn token_for(&self, authority: &str) -> (String, GrantId) {
        self.token_of(USER, authority).await
    }

    /// The same for another person.
    pub async fn token_of(&self, name: &str, authority: &str) -> (String, GrantId) {
        token_of(self.app(), name, authority).await
    }

    /// A token for the unified endpoint.
    pub async fn root_token_of(&self, name: &str) -> String {
        token_at(self.app(), name, &Realm::Root, None).await.0
    }

    /// A token that is bound to the key with this thumbprint (RFC 9449).
    pub async fn bound_token_for(&self, authority: &str, thumbprint: &str) -> String {
        token_at(self.app(), USER, &Realm::Mcp(label(authority)), Some(thumbprint)).await.0
    }

    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// The same from the parts of any gateway.
pub async fn token_of(app: &App, name: &str, authority: &str) -> (String, GrantId) {
    token_at(app, name, &Realm::Mcp(label(authority)), None).await
}

/// A token of any realm, bound to a key (RFC 9449) or not.
pub async fn token_at(app: &App, name: &str, realm: &Realm, key: Option<&str>) -> (String, GrantId) {
    let random = Random::default();
    let user = app.store.user_by_name(name).await.unwrap().unwrap();
    let origin = app.site.issuer(realm);
    let (id, now) = (GrantId::random(&random), app.clock.now());
    let grant = Grant {
        id,
        user: user.id,
        client_id: "test".to_owned(),
        client_name: "Test".to_owned(),
        realm: realm.key(),
        resource: format!("{origin}/mcp"),
        scope: String::new(),
        created_at: now,
        revoked_at: None,
    };
    app.store.insert_grant(&grant, None).await.unwrap();
    let new = NewToken {
        issuer: &origin,
        resource: &grant.resource,
        user: &user,
        client_id: &grant.client_id,
        scope: "",
        grant: id,
        ttl: Duration::from_secs(3600),
        actor: None,
        confirmation: key,
    };
    (app.tokens.mint(&new).unwrap(), id)
}

/// For tests that send more than people do.
pub fn without_rates(config: &mut Config) {
    let plenty = Rate { count: 10_000, period: Duration::from_secs(1), burst: 10_000 };
    config.limits.per_ip = plenty;
    config.limits.per_user = plenty;
    config.limits.per_client = plenty;
    config.limits.per_user_upstream = plenty;
}

/// An upstream as a configuration would name it.
pub fn upstream(authority: &str, auth: UpstreamAuth) -> UpstreamConfig {
    UpstreamConfig {
        authority: Authority::parse(authority).unwrap(),
        name: None,
        alias: None,
        kind: Default::default(),
        path: None,
        auth,
        allow_private: Some(true),
        tools: None,
        allowed: None,
    }
}

/// What a configuration file with this text says, loopback upstreams allowed.
pub fn configured(text: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    let environment = BTreeMap::from([
        ("XDG_STATE_HOME".to_owned(), directory.path().display().to_string()),
        ("PATH".to_owned(), std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned()),
        ("PORTCULLIS__UPSTREAMS__ALLOW_PRIVATE".to_owned(), "true".to_owned()),
    ]);
    load(&Source { file: Some(file), environment }).unwrap_or_else(|errors| panic!("{errors}"))
}

pub fn label(authority: &str) -> Label {
    Label::encode(&Authority::parse(authority).unwrap()).unwrap()
}

/// The defaults, everything below `directory`, nothing on fixed ports.
pub fn config(directory: &Path) -> Config {
    let state = directory.display().to_string();
    let environment = BTreeMap::from([
        ("XDG_STATE_HOME".to_owned(), state),
        ("PORTCULLIS__SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("PORTCULLIS__SERVER__ADMIN_LISTEN".to_owned(), String::new()),
        ("PORTCULLIS__UPSTREAMS__ALLOW_PRIVATE".to_owned(), "true".to_owned()),
    ]);
    load(&Source { file: None, environment }).unwrap()
}
