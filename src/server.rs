//! A gateway that runs: started, given other settings, relieved by another process, stopped.

mod accept;
mod announced;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handover;
mod limits;
mod listen;
mod plain;
mod process;
mod seats;
mod systemd;
mod transport;
mod watch;

pub use listen::Bound;
pub use process::{Start, serve};

use crate::admin;
use crate::app::{App, Reloaded};
use crate::config::Config;
use crate::error::Fault;
use crate::hostname::Site;
use crate::proxy::{Control, Phase};
use accept::{Manners, Reception};
use arc_swap::ArcSwap;
use listen::Socket;
use plain::PlainReception;
use seats::Seats;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long the end of a gateway may wait for refreshes of upstream tokens that are under way, for the last audit events,
/// and for the database, each.
const FINISHING: Duration = Duration::from_secs(10);

/// How long taking one's name off the list of processes may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A gateway that is running. Dropping it stops accepting at once.
pub struct Running {
    app: Arc<App>,
    addresses: Vec<SocketAddr>,
    /// Of plain HTTP beside TLS.
    http_address: Option<SocketAddr>,
    /// A second handle to every listening socket; none once it has stopped to listen.
    sockets: Vec<Socket>,
    /// Turns true when no more connections are taken.
    stop: channel::Sender<bool>,
    phase: channel::Sender<Phase>,
    drained: Drained,
    background: Vec<JoinHandle<()>>,
    control: Control,
    seats: Arc<Seats>,
    manners: Arc<ArcSwap<Manners>>,
}

impl Running {
    /// Starts to serve on the sockets that `app` was built for.
    ///
    /// # Errors
    /// When a certificate cannot be loaded or the admin address cannot be bound.
    pub async fn start(app: Arc<App>, mut bound: Bound) -> Result<Self, Fault> {
        limits::raise_descriptor_limit();
        let config = app.config();
        bound.add_others(&config.server, &mut Vec::new())?;
        let sockets = bound.duplicate()?;
        let (stop, stopping) = channel::channel(false);
        let (phase, phases) = channel::channel(Phase::Serving);
        let (alive, drained) = oneshot::channel();
        let gate = app.gate(phases, alive);
        let control = gate.control();
        let mut background = app.clone().background(&stopping);
        if let Some(listener) = bound.take_admin() {
            background.push(admin::start(listener, app.clone(), stopping.clone())?);
        }
        let addresses = bound.addresses().to_vec();
        let (total, per_address, trusted) = seating(&config);
        let seats = Seats::new(total, per_address, trusted, app.overload.clone(), app.metrics.clone());
        let manners = Arc::new(ArcSwap::from_pointee(Manners::of(&config)));
        let mut http_address = None;
        if let Some(listener) = bound.take_plain() {
            let listener = TcpListener::from_std(listener).map_err(Fault::gateway)?;
            http_address = Some(listener.local_addr().map_err(Fault::gateway)?);
            let plain = PlainReception { app: app.clone(), seats: seats.clone(), manners: manners.clone() };
            background.push(tokio::spawn(Arc::new(plain).serve(listener, stopping.clone())));
        }
        let reception = Reception {
            gate: Arc::new(gate),
            tls: app.certificates.served().map(accept::acceptor).transpose().map_err(Fault::gateway)?,
            seats: seats.clone(),
            manners: manners.clone(),
            stopping,
        };
        background.push(tokio::spawn(listen::serve_connections(Arc::new(reception), bound)?));
        for address in &addresses {
            tracing::info!(%address, url = app.site.root_origin(), "listening");
        }
        let drained = Drained(Some(drained));
        Ok(Self { app, addresses, http_address, sockets, stop, phase, drained, background, control, seats, manners })
    }

    /// The first address that it listens on.
    ///
    /// # Panics
    /// Never: a configuration without an address is refused.
    #[allow(clippy::indexing_slicing)]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where plain HTTP leads to https.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Its names.
    pub fn site(&self) -> &Site {
        &self.app.site
    }

    /// Its parts.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Puts another configuration in force, as far as that goes without a restart; certificate files are read again. All
    /// of it or nothing; no request and no stream is touched.
    ///
    /// # Errors
    /// When a certificate or a certificate authority cannot be read, or the store fails.
    pub async fn reload(&self, config: Config) -> Result<Reloaded, Fault> {
        let reloaded = self.app.reload(config, &self.control).await?;
        let config = self.app.config();
        let (total, per_address, trusted) = seating(&config);
        self.seats.rearrange(total, per_address, trusted);
        self.manners.store(Arc::new(Manners::of(&config)));
        Ok(reloaded)
    }

    /// Stops: no new connections, open streams end between two events, and what has not ended after `streams.drain` is
    /// cut.
    pub async fn stop(self) {
        self.stop_or_cut(std::future::pending()).await;
    }

    /// The same, but nothing is waited for any longer when `cut` resolves.
    async fn stop_or_cut(mut self, cut: impl Future<Output = ()>) {
        self.turn_away(Phase::ending_now());
        let drain = self.app.config().streams.drain;
        let orderly = async {
            let drained = timeout(drain, self.drained.wait()).await.is_ok();
            // What an upstream has rotated must be written down.
            timeout(FINISHING, self.app.connections.settle()).await.is_ok() && drained
        };
        let complete = tokio::select! { biased;
            complete = orderly => complete,
            () = cut => false,
        };
        if !complete {
            tracing::warn!("some requests have not ended and are cut");
        }
        self.finish().await;
    }

    /// What is recorded becomes durable.
    async fn finish(&self) {
        self.background.iter().for_each(JoinHandle::abort);
        let app = &self.app;
        or_warn(app.programs.stop(), "some programs have not ended and end with the process").await;
        or_warn(app.activity.flush(), "what happened in the last seconds is not counted").await;
        or_warn(app.audit.flush(), "the last audit events are in the log only").await;
        or_warn(app.tracer.flush(), "the last traces are lost").await;
        // Without a word the others forget this process after a while.
        let _ = timeout(FAREWELL, app.leave()).await;
        // The last process to close the database writes its log back into it.
        or_warn(app.store.close(), "the database is still in use and closes with the process").await;
    }

    /// Another process has taken over: no new connections, every request is the last of its connection, and open streams
    /// go on. In the last quarter of `streams.upgrade_drain` they end one after the other. Returns when the last connection
    /// is done, that time is over, or `hurry` resolves; [`Running::stop`] has to follow.
    async fn retire(&mut self, hurry: impl Future<Output = ()>) {
        self.turn_away(Phase::Retiring);
        let drain = self.app.config().streams.upgrade_drain;
        let spread = drain / 4;
        let (phase, drained) = (&self.phase, &mut self.drained);
        let end = async {
            sleep(drain - spread).await;
            tracing::info!(?spread, "open streams end, one after the other");
            phase.send_replace(Phase::Ending { from: Instant::now(), spread });
            sleep(spread).await;
        };
        tokio::select! { biased;
            () = drained.wait() => {}
            () = hurry => {}
            () = end => {}
        }
    }

    fn turn_away(&mut self, phase: Phase) {
        self.phase.send_replace(phase);
        self.stop.send_replace(true);
        // As long as one handle is open, the system would go on taking connections that nobody answers.
        self.sockets.clear();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.turn_away(Phase::ending_now());
        self.background.iter().for_each(JoinHandle::abort);
    }
}

/// Waits for something that belongs to the end, for its time; what is not so when that is over goes to the log.
async fn or_warn<T>(work: impl Future<Output = T>, otherwise: &str) {
    if timeout(FINISHING, work).await.is_err() {
        tracing::warn!("{otherwise}");
    }
}

/// Tells when the last connection is done; may be asked again.
struct Drained(Option<oneshot::Receiver<()>>);

impl Drained {
    async fn wait(&mut self) {
        if let Some(drained) = &mut self.0 {
            // An error is what is waited for: the other end is dropped, not used.
            let _ = drained.await;
            self.0 = None;
        }
    }
}

/// How many connections there may be, in all and from one address, and whose many are many people's.
fn seating(config: &Config) -> (usize, u32, Vec<ipnet::IpNet>) {
    let limits = &config.limits.connections;
    let total = limits.total.unwrap_or_else(limits::most_connections);
    (total, limits.per_address, config.server.trusted_proxies.clone())
}
