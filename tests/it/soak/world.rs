//! The program, and everybody around it.

use super::tally::Tally;
use crate::chaos::router;
use crate::chaos_proxy::ChaosProxy;
use crate::client::Client;
use crate::gateway::{PASSWORD, label};
use crate::postgres::Cluster;
use crate::process::{Machine, Server};
use crate::program;
use crate::raw::{PATIENCE, RawUpstream};
use crate::tls_peers::Authority;
use crate::upstreams::Notes;
use parking_lot::Mutex;
use portcullis::config::Tls;
use portcullis::devkit::browser::{Browser, Credentials};
use portcullis::ids::Random;
use portcullis::vault::Vault;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// Each with a connection of their own; the first is an administrator.
pub const PEOPLE: [&str; 4] = ["alice", "bob", "cleo", "dan"];
/// How long the upstream's tokens live, and ours. The gateway renews the upstream's 30 s before their end, and asks a server that
/// failed again after at most 15 s.
const UPSTREAM_TTL: Duration = Duration::from_secs(180);
pub const OUR_TTL: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(250);
const PORT: &str = "PORTCULLIS_TEST_UPSTREAM";

/// Where upstreams are.
pub struct Names {
    /// Answers everything, always.
    pub echo: String,
    /// The same behind a network that cuts.
    pub chaos: String,
    /// A process that is killed now and then.
    pub mortal: String,
    /// Streams that do not end.
    pub beats: String,
    /// Behind an authorization server that is in trouble now and then.
    pub notes: String,
}

impl Names {
    fn all(&self) -> [&String; 5] {
        [&self.echo, &self.chaos, &self.mortal, &self.beats, &self.notes]
    }
}

/// What those who make traffic share.
pub struct World {
    pub port: u16,
    pub names: Names,
    pub trust: Authority,
    pub tally: Tally,
    pub is_over: AtomicBool,
    /// When the upstream that is killed was last back.
    pub mourned: Mutex<Option<Instant>>,
}

impl World {
    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// The name in a URL, and in certificates.
    pub fn host(&self, authority: &str) -> String {
        format!("{}.localhost", label(authority))
    }

    pub fn url(&self, authority: &str, path: &str) -> String {
        format!("https://{}:{}{path}", self.host(authority), self.port)
    }

    pub fn root(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn browser(&self) -> Browser {
        Browser::trusting(&[self.trust.issuer.der().clone()]).unwrap()
    }

    /// A client that a person has let in, and its tokens.
    pub async fn client(&self, person: &str, authority: &str) -> (Client, crate::client::Tokens) {
        let redirect_uri = "http://127.0.0.1:33333/callback";
        let metadata = json!({
            "client_name": "Soak",
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let url = self.url(authority, "/mcp");
        let client = Client::discover_with(self.browser(), &url, redirect_uri).await.register(metadata).await;
        let start = client.authorization_url(&[]);
        let callback = client.browser.authorize(&start, &who(person), redirect_uri).await.unwrap();
        assert_eq!(callback.error, None, "{:?}", callback.error_description);
        let tokens = client.exchange(&callback.code.unwrap()).await;
        (client, tokens)
    }

    /// Without cookies and redirects, over one of the two versions of HTTP.
    pub fn http(&self, protocol: &str) -> reqwest::Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.trust.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let mut client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(4 * PATIENCE);
        for authority in self.names.all() {
            client = client.resolve(&self.host(authority), ([127, 0, 0, 1], self.port).into());
        }
        client.build().unwrap()
    }
}

pub fn who(person: &str) -> Credentials {
    Credentials { user: person.to_owned(), password: PASSWORD.to_owned() }
}

/// Everything that has to be kept alive, and what only the one who injects faults touches.
pub struct Site {
    pub world: Arc<World>,
    pub server: Server,
    pub admin: u16,
    pub notes: Notes,
    pub proxy: ChaosProxy,
    pub mortal: Mortal,
    /// Lines of the log that tell of a panic.
    pub panics: Arc<AtomicU64>,
    machine: Machine,
    cluster: Option<(Arc<Cluster>, String)>,
    _upstreams: (RawUpstream, [tokio::task::JoinHandle<()>; 2]),
}

impl Site {
    pub async fn start(postgres: bool) -> Self {
        let ((echo, serving), (cut, cutting)) = (serve(0, false).await, serve(0, true).await);
        let proxy = ChaosProxy::start(cut.port()).await;
        let (beats, notes, mortal) =
            (program::notes(BEAT).await, Notes::with(UPSTREAM_TTL).await, Mortal::start().await);
        let names = Names {
            echo: echo.to_string(),
            chaos: proxy.authority(),
            mortal: format!("127.0.0.1:{}", mortal.port),
            beats: beats.authority.clone(),
            notes: notes.authority(),
        };
        let machine = Machine::new();
        let cluster = match postgres {
            true => {
                let cluster = Arc::new(Cluster::start(true));
                let url = cluster.empty().await;
                Some((cluster, url))
            }
            false => None,
        };
        let key = Vault::generate_key(&Random::default());
        portcullis::config::write_vault_key(&machine.path("vault.key"), &key).unwrap();
        let admin = crate::acme_peers::port();
        let world = World {
            port: 0,
            names,
            trust: Authority::new("soak"),
            tally: Tally::default(),
            is_over: AtomicBool::new(false),
            mourned: Mutex::new(None),
        };
        let mut site = Started { machine, cluster, admin, world };
        site.certify();
        site.configure(0);
        for (number, person) in PEOPLE.into_iter().enumerate() {
            let role: &[&str] = if number == 0 { &["--admin"] } else { &[] };
            let config = site.machine.path("portcullis.toml").display().to_string();
            let arguments = [&["-c", &config, "user", "add", person, "--password-stdin"][..], role].concat();
            let added = site.machine.run_with_input(&arguments, &format!("{PASSWORD}\n")).await;
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        let config = site.machine.path("portcullis.toml").display().to_string();
        let mut command = site.machine.command(&["serve", "-c", &config]);
        command.env_remove("PORTCULLIS__SERVER__ADMIN_LISTEN");
        let mut server = Server::start(command, "(https").await;
        site.world.port = server.root().rsplit(':').next().unwrap().parse().unwrap();
        let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
        let panics = Arc::new(AtomicU64::new(0));
        let seen = panics.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                if line.contains("panicked") {
                    tracing::error!("the log says: {line}");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let Started { machine, cluster, admin, world } = site;
        let world = Arc::new(world);
        Self {
            world,
            server,
            admin,
            notes,
            proxy,
            mortal,
            panics,
            machine,
            cluster,
            _upstreams: (beats, [serving, cutting]),
        }
    }

    /// A new certificate where the old one is; the gateway finds it by itself.
    pub fn certify(&self) {
        certify(&self.world);
    }

    /// Another configuration, and a signal.
    pub async fn reload(&self, turn: u64) {
        let text = configuration(&self.world, self.admin, self.cluster.as_ref().map(|(_, url)| url.as_str()), turn);
        self.machine.write("portcullis.toml", &text);
        self.server.tell("-HUP").await;
    }

    pub fn database(&self) -> Database {
        match &self.cluster {
            Some((cluster, url)) => {
                Database::Postgres(cluster.clone(), url::Url::parse(url).unwrap().path()[1..].to_owned())
            }
            None => Database::Files(self.machine.path("portcullis")),
        }
    }

    /// Stops the gateway as an init system does; how it ended.
    pub async fn stop(self) -> Option<i32> {
        self.server.signal("-TERM").await.code()
    }
}

/// Where the database is, for whoever measures it.
pub enum Database {
    Files(PathBuf),
    Postgres(Arc<Cluster>, String),
}

impl Database {
    /// In bytes.
    pub async fn size(&self) -> u64 {
        match self {
            Self::Files(directory) => {
                let files = std::fs::read_dir(directory).unwrap().flatten();
                let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("portcullis.db"));
                files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
            }
            Self::Postgres(cluster, name) => {
                let mut connection = cluster.administrator("postgres").await;
                let size = sqlx::query_scalar::<_, i64>("SELECT pg_database_size($1)").bind(name);
                u64::try_from(size.fetch_one(&mut connection).await.unwrap()).unwrap()
            }
        }
    }
}

/// A site without its process.
struct Started {
    machine: Machine,
    cluster: Option<(Arc<Cluster>, String)>,
    admin: u16,
    world: World,
}

impl Started {
    fn certify(&self) {
        certify(&self.world);
    }

    fn configure(&self, turn: u64) {
        let url = self.cluster.as_ref().map(|(_, url)| url.as_str());
        self.machine.write("portcullis.toml", &configuration(&self.world, self.admin, url, turn));
    }
}

fn certify(world: &World) -> Tls {
    let hosts: Vec<String> = world.names.all().map(|authority| world.host(authority)).into();
    let names: Vec<&str> = std::iter::once("localhost").chain(hosts.iter().map(String::as_str)).collect();
    world.trust.files(&names)
}

/// What differs from turn to turn changes limits, and adds and removes an upstream that nobody calls.
fn configuration(world: &World, admin: u16, store: Option<&str>, turn: u64) -> String {
    let Names { echo, chaos, mortal, beats, notes } = &world.names;
    let file = |name: &str| world.trust.file().with_file_name(name).display().to_string();
    let store = store.map(|url| format!("[store]\nurl = \"{url}\"\n")).unwrap_or_default();
    let open = [echo, chaos, mortal, beats].map(|name| format!("[[upstream]]\ndomain = \"{name}\"\nauth = \"none\"\n"));
    let guest = if turn % 2 == 1 { "[[upstream]]\ndomain = \"127.0.0.1:9\"\nauth = \"none\"\n" } else { "" };
    let rate = 100_000 + turn % 7;
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin_listen = \"127.0.0.1:{admin}\"\n{store}\
         [tls]\nmode = \"files\"\ncert = \"{}\"\nkey = \"{}\"\n\
         [vault]\nkey_file = \"vault.key\"\n[tokens]\naccess_ttl = \"{}s\"\n\
         [limits]\nper_ip = \"{rate}/s\"\nper_user = \"{rate}/s\"\nper_user_upstream = \"{rate}/s\"\nper_client = \"{rate}/s\"\n\
         token_endpoint = \"1000/s\"\nregistration = \"1000/s\"\nlogin = \"1000/s\"\n\
         [streams]\nresponse_timeout = \"10s\"\nwrite_timeout = \"10s\"\n\
         [upstreams]\nunknown = \"deny\"\nallow_private = true\n{}[[upstream]]\ndomain = \"{notes}\"\n{guest}",
        file("cert.pem"),
        file("key.pem"),
        OUR_TTL.as_secs(),
        open.concat(),
    )
}

/// With `closes`, every request comes over a connection of its own, so that each may meet another fault.
async fn serve(port: u16, closes: bool) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router =
        router().layer(axum::middleware::map_response(move |mut response: axum::response::Response| async move {
            if closes {
                response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
            }
            response
        }));
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// An upstream that is a process, so that it can be killed.
pub struct Mortal {
    pub port: u16,
    process: Child,
}

impl Mortal {
    async fn start() -> Self {
        let port = crate::acme_peers::port();
        Self { port, process: Self::born(port).await }
    }

    async fn born(port: u16) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "soak::world::upstream", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PORT, port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("the upstream does not start");
        child
    }

    /// SIGKILL; back after a while.
    pub async fn die(&mut self, pause: Duration) {
        self.process.kill().await.unwrap();
        tokio::time::sleep(pause).await;
        self.process = Self::born(self.port).await;
    }
}

#[tokio::test]
#[ignore = "only as the child of another test"]
async fn upstream() {
    #[allow(clippy::disallowed_methods)]
    let Ok(port) = std::env::var(PORT) else { return };
    serve(port.parse().unwrap(), false).await.1.await.unwrap();
}
