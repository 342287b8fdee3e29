//! Listening and draining.

use crate::admin;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Tls};
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::Random;
use crate::proxy::{Gate, Phase};
use crate::tls::CertificateFiles;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::TlsSettings;
use pingora::server::Fds;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

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
        background.push(tokio::spawn(serve_connections(gate, certificates.clone(), bound, stopping)?));
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

/// Hands the sockets to Pingora; the future ends when the last of them is closed.
fn serve_connections(
    gate: Gate,
    certificates: Option<Arc<CertificateFiles>>,
    bound: Bound,
    stopping: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, Fault> {
    let mut service = Service::new("portcullis".to_owned(), gate);
    let mut descriptors = Fds::new();
    for (address, listener) in bound.addresses.iter().zip(bound.listeners) {
        let address = address.to_string();
        match &certificates {
            None => service.add_tcp(&address),
            Some(certificates) => service.add_tls_with_settings(&address, None, tls_settings(certificates.clone())?),
        }
        // From here on the descriptor is Pingora's.
        descriptors.add(address, listener.into_raw_fd());
    }
    let descriptors = Arc::new(Mutex::new(descriptors));
    Ok(async move { service.start_service(Some(descriptors), stopping, 1).await })
}

/// HTTP/2 and HTTP/1.1 over TLS 1.3 and 1.2, certificates from `resolver`.
fn tls_settings(resolver: Arc<CertificateFiles>) -> Result<TlsSettings, Fault> {
    struct NoCallbacks;
    #[async_trait]
    impl TlsAccept for NoCallbacks {}
    // Pingora offers no settings without files but these; the callbacks are never called under rustls.
    let mut settings = TlsSettings::with_callbacks(Box::new(NoCallbacks)).map_err(Fault::gateway)?;
    settings.set_cert_resolver(resolver);
    settings.enable_h2();
    Ok(settings)
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
