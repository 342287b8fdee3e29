//! Listening and draining.

mod accept;
mod announced;
mod seats;
mod transport;

use crate::admin;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Tls};
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::Random;
use crate::proxy::{Gate, Phase};
use crate::tls::CertificateFiles;
use accept::Reception;
use announced::ProxyProtocol;
use futures_util::future::join_all;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use seats::Seats;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// More open files than this are not asked for: the kernel's table for them is allocated as it grows.
const MOST_DESCRIPTORS: u64 = 1 << 20;
/// Open files that are not connections: database, logs, listeners, resolver.
const SPARE_DESCRIPTORS: u64 = 128;

/// Sockets that are bound already, so that the port is known before anything is built.
pub struct Bound {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Bound {
    /// Binds every address.
    ///
    /// # Errors
    /// Naming the address, and what to do when it is in use or not allowed.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        let mut bound = Self { listeners: Vec::new(), addresses: Vec::new() };
        for address in addresses {
            let listener = listen(*address).map_err(|error| Fault::gateway(explain(*address, &error)))?;
            bound.addresses.push(listener.local_addr().map_err(Fault::gateway)?);
            bound.listeners.push(listener);
        }
        Ok(bound)
    }

    /// The addresses in use, port 0 replaced by the chosen one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another address in server.listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose another port in server.listen"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: mend server.listen",
        _ => "mend server.listen",
    };
    format!("cannot listen on {address}: {error}; {advice}")
}

/// A gateway that is running. Dropping it stops accepting at once.
pub struct Running {
    app: Arc<App>,
    addresses: Vec<SocketAddr>,
    /// Turns true when no more connections are taken.
    stop: watch::Sender<bool>,
    phase: watch::Sender<Phase>,
    /// Resolves when the last connection is done.
    drained: oneshot::Receiver<()>,
    background: Vec<JoinHandle<()>>,
    drain: Duration,
    certificates: Option<Arc<CertificateFiles>>,
}

impl Running {
    /// Starts to serve on the sockets that `app` was built for.
    ///
    /// # Errors
    /// When a certificate cannot be loaded or the admin address cannot be bound.
    pub async fn start(app: Arc<App>, bound: Bound) -> Result<Self, Fault> {
        let (stop, stopping) = watch::channel(false);
        let (alive, drained) = oneshot::channel();
        let (phase, phases) = watch::channel(Phase::Serving);
        let gate = app.gate(phases, alive);
        let certificates = certificates(&app.config.tls)?;
        let mut background = app.clone().background(&stopping);
        if let Some(address) = app.config.server.admin_listen {
            background.push(admin::start(address, app.clone()).await?);
        }
        let (addresses, drain) = (bound.addresses.clone(), app.config.streams.drain);
        background.push(tokio::spawn(serve_connections(&app, gate, certificates.clone(), bound, stopping)?));
        for address in &addresses {
            tracing::info!(%address, url = app.site.root_origin(), "listening");
        }
        Ok(Self { app, addresses, stop, phase, drained, background, drain, certificates })
    }

    /// The first address that it listens on.
    ///
    /// # Panics
    /// Never: a configuration without an address is refused.
    #[allow(clippy::indexing_slicing)]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Its names.
    pub fn site(&self) -> &Site {
        &self.app.site
    }

    /// Its parts.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Reads the certificate files again, for new connections; open ones are not touched.
    pub fn reload(&self) {
        match self.certificates.as_ref().map(|files| files.reload()) {
            Some(Ok(())) => tracing::info!("the certificates were read again; everything else needs a restart"),
            Some(Err(fault)) => tracing::error!(%fault, "the certificates stay as they are"),
            None => tracing::info!("there are no certificates to read again; everything else needs a restart"),
        }
    }

    /// Stops: no new connections, open streams end between two events, and what has not ended after `streams.drain` is
    /// cut.
    pub async fn stop(mut self) {
        self.phase.send_replace(Phase::ending_now());
        self.stop.send_replace(true);
        if tokio::time::timeout(self.drain, &mut self.drained).await.is_err() {
            tracing::warn!("some streams did not end in time and are cut");
        }
        self.app.audit.flush().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::ending_now());
        self.stop.send_replace(true);
        self.background.iter().for_each(JoinHandle::abort);
    }
}

fn certificates(tls: &Tls) -> Result<Option<Arc<CertificateFiles>>, Fault> {
    match tls {
        Tls::Off => Ok(None),
        Tls::Files { cert, key } => Ok(Some(Arc::new(CertificateFiles::load(cert, key)?))),
    }
}

/// Serves on every socket; the future ends when the last of them is closed.
fn serve_connections(
    app: &App,
    gate: Gate,
    certificates: Option<Arc<CertificateFiles>>,
    bound: Bound,
    stopping: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, Fault> {
    let limits = &app.config.limits.connections;
    let trusted = &app.config.server.trusted_proxies;
    let total = limits.total.unwrap_or_else(most_connections);
    let reception = Arc::new(Reception {
        gate: Arc::new(gate),
        tls: certificates.map(accept::acceptor).transpose().map_err(Fault::gateway)?,
        seats: Seats::new(total, limits.per_address, trusted.clone(), app.metrics.clone()),
        proxy_protocol: app.config.server.proxy_protocol.then(|| ProxyProtocol::new(trusted)),
        head_timeout: limits.head_timeout,
        stopping,
    });
    let listeners = bound.listeners.into_iter().map(tokio::net::TcpListener::from_std);
    let listeners = listeners.collect::<io::Result<Vec<_>>>().map_err(Fault::gateway)?;
    let serving: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(reception.clone().serve(listener))).collect();
    Ok(async move { drop(join_all(serving).await) })
}

/// Runs the gateway until SIGTERM or SIGINT; SIGHUP makes it read its certificates again.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub async fn serve(config: Config) -> Result<(), Fault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Fault::gateway)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::gateway)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Fault::gateway)?;
    forbid_core_dumps()?;
    raise_descriptor_limit();
    let bound = Bound::bind(&config.server.listen)?;
    let app = Arc::new(App::build(config, bound.addresses(), Clock::system(), Random::default()).await?);
    let running = Running::start(app, bound).await?;
    announce(&running).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload(),
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// The memory of this process holds tokens: no file may ever hold a copy of it, and no other process of the same user may
/// read it.
fn forbid_core_dumps() -> Result<(), Fault> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| Fault::gateway(format!("core dumps cannot be turned off: {error}")))
}

/// Every connection takes a descriptor, and often one more toward its upstream. The soft limit is low for programs that use
/// `select`, which this is not: the hard one is meant.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let maximum = Some(limit.maximum.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS));
    if limit.current < maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// How many connections the limit of open files allows when each may need a second descriptor, with some left over for
/// files and the database.
fn most_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
    usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(16)
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
