//! `portcullis bridge`: one MCP server on standard input and output, over Streamable HTTP and the HTTP+SSE of 2024, without
//! sign-in. It is the unified endpoint that sees this program alone, over a gateway in memory; what it has of its own is who may
//! connect: whoever is on this machine, unless more is said.

mod visitors;

pub use visitors::Visitors;

use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Command, Config, Kind, Launcher, Rate, Sharing, Source, UpstreamAuth, UpstreamConfig};
use crate::error::Fault;
use crate::hostname::Authority;
use crate::ids::Random;
use crate::secret::Secret;
use crate::store::Role;
use crate::unified;
use crate::vault::Vault;
use axum::Router;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The alias of the one upstream, and the name of the one person.
const NAME: &str = "bridge";
/// How often sessions that nobody uses any longer are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// What is bridged, and to whom.
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Names other than loopback ones by which it is reached.
    pub allowed_hosts: Vec<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `PATH`
    pub search_path: String,
    /// What the program gets of the environment of this process.
    pub inherited: Vec<(String, String)>,
    /// What it gets besides. The log shows none of it.
    pub given: Vec<(String, Secret)>,
    /// How the program is started.
    pub launcher: Launcher,
}

/// A bridge that serves. Dropping it ends it without order.
pub struct Bridge {
    app: App,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Bridge {
    /// Serves from now on. The program is started when the first client comes.
    ///
    /// # Errors
    /// When the address cannot be had, the program is not there, or everybody could connect and nobody said so; the text says
    /// what to do.
    pub async fn start(options: Options) -> Result<Self, Fault> {
        let visitors = Visitors::new(options.listen, &options.allowed_hosts)?;
        let listener = TcpListener::bind(options.listen).await.map_err(|error| {
            Fault::caller(format!("{} cannot be listened on ({error}): name another one with --listen", options.listen))
        })?;
        let address = listener.local_addr().map_err(Fault::gateway)?;
        let random = Random::default();
        let config = configuration(options, &random)?;
        let app = App::build(config, &[address], Clock::system(), random).await?;
        let person = app.identity.add(NAME, None, Role::Member).await?;
        let upstream = Authority::of_program(NAME).ok().and_then(|program| app.registry.by_authority(&program));
        let upstream = upstream.ok_or_else(|| Fault::gateway("the program is not among the upstreams"))?;
        let routes = unified::open_routes(app.unified.clone(), person.id, upstream);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, visitors.admit(routes), stopped, app.unified.clone()));
        Ok(Self { app, address, stop, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the program in good order, and everything else with it.
    pub async fn stop(self) {
        self.app.programs.stop().await;
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.server.abort();
        let _ = self.server.await;
        self.app.store.close().await;
    }
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    stopped: oneshot::Receiver<()>,
    door: std::sync::Arc<unified::Door>,
) {
    let sweep = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            door.sweep().await;
        }
    };
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => {
            if let Err(error) = served {
                tracing::error!(%error, "the bridge cannot serve any longer");
            }
        }
        _ = stopped => {}
        () = sweep => {}
    }
}

/// A gateway in memory with one upstream, and no limits but those of this machine.
fn configuration(options: Options, random: &Random) -> Result<Config, Fault> {
    let memory = [("PORTCULLIS__STORE__URL", "sqlite::memory:"), ("PORTCULLIS__SERVER__ADMIN_LISTEN", "")];
    let environment: BTreeMap<_, _> = memory.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut config = config::load(&Source { file: None, environment }).map_err(Fault::gateway)?;
    config.vault.key = Some(Vault::generate_key(random));
    config.vault.key_file = None;
    config.stdio.launcher = options.launcher.clone();
    let plenty = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
    let limits = &mut config.limits;
    (limits.per_ip, limits.per_user, limits.per_user_upstream, limits.per_client) = (plenty, plenty, plenty, plenty);
    config.unified.max_sessions = 10_000;
    config.upstream = vec![upstream(options)?];
    Ok(config)
}

fn upstream(options: Options) -> Result<UpstreamConfig, Fault> {
    let Some((program, args)) = options.command.split_first() else {
        return Err(Fault::caller("there is no program: write it behind --, like `portcullis bridge -- npx a-server`"));
    };
    // What is a path is one from here, wherever it runs.
    let here = std::env::current_dir().map_err(Fault::gateway)?;
    let program = if program.contains('/') { here.join(program) } else { PathBuf::from(program) };
    let command = Command {
        program,
        args: args.to_vec(),
        search_path: options.search_path,
        env: options.inherited,
        secrets: options.given,
        personal_env: Vec::new(),
        cwd: Some(here),
        processes: Sharing::Everybody,
        idle: None,
        memory: None,
    };
    command.must_be_there().map_err(Fault::caller)?;
    Ok(UpstreamConfig {
        authority: Authority::of_program(NAME).map_err(Fault::gateway)?,
        name: Some(command.name().to_owned()),
        alias: Some(NAME.to_owned()),
        kind: Kind::Stdio(std::sync::Arc::new(command)),
        path: Some("/mcp".to_owned()),
        auth: UpstreamAuth::None,
        allow_private: None,
        tools: None,
        allowed: None,
    })
}
