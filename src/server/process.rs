//! The gateway as a process of its own: signals, changed files, the next version of the binary.

use super::handover::{Predecessor, Successor};
use super::systemd::{self, Manager};
use super::watch::Watch;
use super::{Bound, FINISHING, Running};
use crate::app::{App, Reloaded};
use crate::clock::Clock;
use crate::config::{self, Config, Login, Source};
use crate::error::Fault;
use crate::identity::SETUP_LIFE;
use crate::ids::Random;
use crate::telemetry::Log;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getpid, set_dumpable_behavior, setrlimit};
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a gateway is started with.
pub struct Start {
    /// Read and checked.
    pub config: Config,
    /// Where it can be read again.
    pub source: Source,
    /// Whose level is part of the configuration.
    pub log: Log,
    /// The command line, program first: it starts the next version of the program.
    pub command: Vec<OsString>,
}

/// Runs the gateway until SIGTERM or SIGINT; a second one cuts what is still under way. SIGHUP, or a changed file, makes it
/// read its configuration again; SIGUSR2 makes it start its binary again and hand over to the new process.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub async fn serve(start: Start) -> Result<(), Fault> {
    let mut signals = Signals::listen()?;
    forbid_core_dumps()?;
    let mut process = Process::launch(start).await?;
    let mut successor = None;
    while let Some(asked) = process.wait(&mut signals, &mut successor).await {
        match asked {
            Asked::Stop => break,
            Asked::Reload => process.reload().await,
            Asked::Upgrade => process.upgrade(&mut successor),
        }
    }
    if let Some(successor) = successor.as_ref().filter(|successor| successor.is_ready()) {
        successor.id().into_iter().for_each(|id| process.manager.relieved_by(id));
        tracing::info!("the new process has taken over; this one ends when its streams do");
        process.running.retire(signals.stop()).await;
    }
    // One that is not ready yet must not take over from a gateway that was told to stop.
    drop(successor);
    tracing::info!("stopping");
    process.manager.stopping(process.patience());
    process.running.stop_or_cut(signals.stop()).await;
    Ok(())
}

/// A gateway, and what it is run by.
struct Process {
    running: Running,
    source: Source,
    log: Log,
    command: Vec<OsString>,
    watch: Watch,
    manager: Arc<Manager>,
}

impl Process {
    /// Starts the gateway, and relieves the process before this one.
    async fn launch(start: Start) -> Result<Self, Fault> {
        let Start { config, source, log, command } = start;
        let predecessor = Predecessor::find(&source.environment)?;
        let mut inherited = predecessor.as_ref().map(Predecessor::sockets).transpose()?.unwrap_or_default();
        let addresses = config.server.configured_addresses();
        inherited.extend(systemd::sockets(&addresses)?);
        let manager = Arc::new(Manager::find(&source.environment));
        let watch = Watch::over(&config.files);
        let bound = Bound::take_over(&config.server, inherited)?;
        let app = Arc::new(App::build(config, bound.addresses(), Clock::system(), Random::default()).await?);
        let running = Running::start(app, bound).await?;
        announce(&running).await?;
        predecessor.map_or(Ok(()), Predecessor::relieve)?;
        let process = Self { running, source, log, command, watch, manager };
        process.manager.ready(&process.status());
        tokio::spawn(systemd::attest(process.manager.clone(), process.running.app.clone()));
        Ok(process)
    }

    /// A line for whoever looks at the service.
    fn status(&self) -> String {
        let addresses = self.running.addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        format!("serving {} on {}", self.running.site().root_origin(), addresses.join(", "))
    }

    /// The longest that a stop may take.
    fn patience(&self) -> Duration {
        // Refreshes, programs, activity, audit events, traces and the database, each within its own time; and a little for the rest.
        self.running.app.config().streams.drain + 6 * FINISHING
    }

    /// Waits for something to do; `None` when the successor serves. One that does not get there is forgotten.
    async fn wait(&mut self, signals: &mut Signals, successor: &mut Option<Successor>) -> Option<Asked> {
        loop {
            let fault = tokio::select! {
                asked = signals.next() => return Some(asked),
                () = self.watch.changed() => return Some(Asked::Reload),
                fault = failure_of(successor) => fault?,
            };
            tracing::error!(%fault, "no upgrade: this process goes on");
            *successor = None;
        }
    }

    /// Reads the configuration again. What is wrong with it is logged, and nothing changes then.
    async fn reload(&mut self) {
        self.manager.reloading();
        let status = match self.read_again().await {
            true => self.status(),
            false => format!("{}; the last configuration had errors and was not taken", self.status()),
        };
        self.manager.ready(&status);
    }

    /// Whether it was taken.
    async fn read_again(&mut self) -> bool {
        self.watch.renew();
        let Some(config) = read_again(&self.source) else { return false };
        self.watch.follow(&config.files);
        match self.running.reload(config).await {
            Ok(reloaded) => {
                self.log.set_level(&self.running.app().config().telemetry.level);
                tell(&reloaded);
                true
            }
            Err(fault) => {
                tracing::error!(%fault, "the configuration stays as it was");
                false
            }
        }
    }

    /// Starts the process that is to take over.
    fn upgrade(&self, successor: &mut Option<Successor>) {
        match self.successor(successor.is_some()) {
            Ok(started) => {
                tracing::info!(process = started.id(), "starting the process that takes over");
                *successor = Some(started);
            }
            Err(fault) => tracing::error!(%fault, "no upgrade: this process goes on"),
        }
    }

    fn successor(&self, under_way: bool) -> Result<Successor, Fault> {
        if under_way {
            return Err(Fault::gateway("a new process is being started already"));
        }
        if getpid().is_init() {
            return Err(Fault::gateway("process 1 of a container ends with its container: replace the container"));
        }
        if self.running.app().config().store.url.matches("sqlite::memory:") {
            return Err(Fault::gateway("the database is in the memory of this process"));
        }
        Successor::start(&self.command, &self.running.sockets)
    }
}

fn read_again(source: &Source) -> Option<Config> {
    let errors = match config::load(source) {
        Ok(config) => return Some(config),
        Err(errors) => errors,
    };
    errors.0.iter().for_each(|error| tracing::error!("{error}"));
    tracing::error!("the configuration has errors and stays as it was");
    None
}

fn tell(Reloaded { changed, needs_restart }: &Reloaded) {
    let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
    tracing::info!(changed, "the configuration was read again");
    if !needs_restart.is_empty() {
        tracing::warn!(keys = needs_restart.join(", "), "some changes need a restart");
    }
}

/// Waits until the successor is ready, which is `None`, or will never be.
async fn failure_of(successor: &mut Option<Successor>) -> Option<Fault> {
    match successor {
        Some(successor) => successor.ready().await.err(),
        None => std::future::pending().await,
    }
}

/// What a signal asks for.
enum Asked {
    Stop,
    Reload,
    Upgrade,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Fault> {
        let listen = |kind| signal(kind).map_err(Fault::gateway);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            upgrade: listen(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }

    /// Waits for the next request to stop; others mean nothing to a gateway that ends.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }
}

/// The memory of this process holds tokens: no file may ever hold a copy of it, and no other process of the same user may
/// read it.
fn forbid_core_dumps() -> Result<(), Fault> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| Fault::gateway(format!("core dumps cannot be turned off: {error}")))
}

/// What is missing where passwords are not accepted, and with them the link that claims a gateway.
fn no_administrator(login: &Login, claimed: bool, root: &str) -> String {
    let ruled = login.github.as_ref().is_some_and(|github| !github.admin_users.is_empty())
        || login.oidc.iter().any(|provider| !provider.admin_groups.is_empty());
    match (claimed, ruled) {
        (true, _) => String::new(),
        (false, true) => format!("nobody owns this gateway yet; its administrators sign in here: {root}/login\n"),
        (false, false) => "nobody can administer this gateway: name people in login.github.admin_users or groups in \
                           login.oidc.admin_groups\n"
            .to_owned(),
    }
}

/// Tells whoever started it where it listens, and how to claim it when nobody has.
async fn announce(running: &Running) -> Result<(), Fault> {
    let root = running.site().root_origin();
    let mut text = String::new();
    for address in &running.addresses {
        text += &format!("listening on {address} ({root})\n");
    }
    let login = &running.app.config().login;
    if !login.password {
        text += &no_administrator(login, running.app.store.has_administrator().await?, &root);
    } else if let Some(token) = running.app.identity.setup_token().await? {
        text += &format!(
            "nobody owns this gateway yet; become its administrator within {} minutes: {root}/setup?token={}\n",
            SETUP_LIFE.as_secs() / 60,
            token.expose()
        );
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::gateway)
}
