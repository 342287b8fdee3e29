//! The gateway as a process of its own: signals, changed files, the next version of the binary.

use super::handover::{Predecessor, Successor};
use super::watch::Watch;
use super::{Bound, Running};
use crate::app::{App, Reloaded};
use crate::clock::Clock;
use crate::config::{self, Config, Source};
use crate::error::Fault;
use crate::ids::Random;
use crate::telemetry::Log;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getpid, set_dumpable_behavior, setrlimit};
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
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
    let Start { config, source, log, command } = start;
    let predecessor = Predecessor::find(&source.environment)?;
    let inherited = predecessor.as_ref().map(Predecessor::sockets).transpose()?.unwrap_or_default();
    let mut watch = Watch::over(&config.files);
    let bound = Bound::take_over(&config.server.listen, config.server.admin_listen, inherited)?;
    let app = Arc::new(App::build(config, bound.addresses(), Clock::system(), Random::default()).await?);
    let mut running = Running::start(app, bound).await?;
    announce(&running).await?;
    if let Some(predecessor) = predecessor {
        predecessor.relieve()?;
    }
    let mut successor = None;
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Reload => reload(&running, &source, &log, &mut watch).await,
                Asked::Upgrade if successor.is_none() => successor = upgrade(&running, &command),
                Asked::Upgrade => tracing::warn!("a new process is being started already"),
            },
            () = watch.changed() => reload(&running, &source, &log, &mut watch).await,
            relieved = relieved_by(&mut successor) => match relieved {
                Ok(()) => {
                    tracing::info!("the new process has taken over; this one ends when its streams do");
                    running.retire(signals.stop()).await;
                    break;
                }
                Err(fault) => {
                    tracing::error!(%fault, "no upgrade: this process goes on");
                    successor = None;
                }
            }
        }
    }
    // One that is not ready yet must not take over from a gateway that was told to stop.
    drop(successor);
    tracing::info!("stopping");
    running.stop_or_cut(signals.stop()).await;
    Ok(())
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

/// Reads the configuration again. What is wrong with it is logged, and nothing changes then.
async fn reload(running: &Running, source: &Source, log: &Log, watch: &mut Watch) {
    watch.renew();
    let config = match config::load(source) {
        Ok(config) => config,
        Err(errors) => {
            for error in &errors.0 {
                tracing::error!("{error}");
            }
            return tracing::error!("the configuration has errors and stays as it was");
        }
    };
    watch.follow(&config.files);
    let Reloaded { changed, needs_restart } = match running.reload(config).await {
        Ok(reloaded) => reloaded,
        Err(fault) => return tracing::error!(%fault, "the configuration stays as it was"),
    };
    log.set_level(&running.app().config().telemetry.level);
    if changed.is_empty() {
        tracing::info!("the configuration was read again: nothing has changed");
    } else {
        tracing::info!(changed = changed.join(", "), "the configuration was read again");
    }
    if !needs_restart.is_empty() {
        tracing::warn!(keys = needs_restart.join(", "), "some changes need a restart");
    }
}

/// Starts the process that is to take over.
fn upgrade(running: &Running, command: &[OsString]) -> Option<Successor> {
    if getpid().is_init() {
        tracing::error!("no upgrade: this is process 1 of a container, which ends with it; replace the container");
        return None;
    }
    if running.app().config().store_url == "sqlite::memory:" {
        tracing::error!("no upgrade: the database is in the memory of this process");
        return None;
    }
    match Successor::start(command, &running.sockets) {
        Ok(successor) => {
            tracing::info!(process = successor.id(), "starting the process that takes over");
            Some(successor)
        }
        Err(fault) => {
            tracing::error!(%fault, "no upgrade: this process goes on");
            None
        }
    }
}

async fn relieved_by(successor: &mut Option<Successor>) -> Result<(), Fault> {
    match successor {
        Some(successor) => successor.ready().await,
        None => std::future::pending().await,
    }
}

/// The memory of this process holds tokens: no file may ever hold a copy of it, and no other process of the same user may
/// read it.
fn forbid_core_dumps() -> Result<(), Fault> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| Fault::gateway(format!("core dumps cannot be turned off: {error}")))
}

/// Tells whoever started it where it listens, and how to claim it when nobody has.
async fn announce(running: &Running) -> Result<(), Fault> {
    let root = running.site().root_origin();
    let mut text = String::new();
    for address in &running.addresses {
        text += &format!("listening on {address} ({root})\n");
    }
    if let Some(token) = running.app.identity.setup_token().await? {
        text +=
            &format!("nobody owns this gateway yet; become its administrator: {root}/setup?token={}\n", token.expose());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::gateway)
}
