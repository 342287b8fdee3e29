//! The sockets that the gateway listens on, and what happens on them.

use crate::error::Fault;
use crate::proxy::Gate;
use crate::tls::CertificateFiles;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::TlsSettings;
use pingora::server::Fds;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use tokio::sync::watch;

/// Sockets that are bound already, so that the port is known before anything is built.
pub struct Bound {
    sockets: Vec<Socket>,
    addresses: Vec<SocketAddr>,
    admin: Option<Socket>,
}

/// One of them.
pub(super) struct Socket {
    /// As the configuration has it, perhaps with port 0.
    pub(super) asked: SocketAddr,
    pub(super) listener: TcpListener,
}

impl Bound {
    /// Binds every address.
    ///
    /// # Errors
    /// Naming the address, and what to do when it is in use or not allowed.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        Self::take_over(addresses, None, Vec::new())
    }

    /// The same, with the one for metrics and probes, and with sockets of the process before this one where they are for
    /// the same address.
    pub(super) fn take_over(
        addresses: &[SocketAddr],
        admin: Option<SocketAddr>,
        mut inherited: Vec<Socket>,
    ) -> Result<Self, Fault> {
        let mut bound = Self { sockets: Vec::new(), addresses: Vec::new(), admin: None };
        for address in addresses {
            let socket = Socket::take_or_bind(*address, &mut inherited, "server.listen")?;
            bound.addresses.push(socket.listener.local_addr().map_err(Fault::gateway)?);
            bound.sockets.push(socket);
        }
        bound.add_admin(admin, &mut inherited)?;
        Ok(bound)
    }

    /// Binds the one for metrics and probes, unless it is there already.
    pub(super) fn add_admin(&mut self, admin: Option<SocketAddr>, inherited: &mut Vec<Socket>) -> Result<(), Fault> {
        if let (Some(address), None) = (admin, &self.admin) {
            self.admin = Some(Socket::take_or_bind(address, inherited, "server.admin_listen")?);
        }
        Ok(())
    }

    /// The addresses in use, port 0 replaced by the chosen one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A second handle to every socket, for handing them over later.
    pub(super) fn duplicate(&self) -> Result<Vec<Socket>, Fault> {
        let all = self.sockets.iter().chain(&self.admin).map(Socket::duplicate);
        all.collect::<io::Result<_>>().map_err(Fault::gateway)
    }

    pub(super) fn take_admin(&mut self) -> Option<TcpListener> {
        self.admin.take().map(|socket| socket.listener)
    }
}

impl Socket {
    fn take_or_bind(address: SocketAddr, inherited: &mut Vec<Socket>, key: &str) -> Result<Self, Fault> {
        if let Some(position) = inherited.iter().position(|socket| socket.asked == address) {
            return Ok(inherited.remove(position));
        }
        match listen(address) {
            Ok(listener) => Ok(Self { asked: address, listener }),
            Err(error) => Err(Fault::gateway(explain(address, &error, key))),
        }
    }

    fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { asked: self.asked, listener: self.listener.try_clone()? })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn explain(address: SocketAddr, error: &io::Error, key: &str) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another address in",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose another port in"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: mend",
        _ => "mend",
    };
    format!("cannot listen on {address}: {error}; {advice} {key}")
}

/// Hands the sockets to Pingora; the future ends when the last of them is closed.
pub(super) fn serve_connections(
    gate: Gate,
    certificates: Option<Arc<CertificateFiles>>,
    bound: Bound,
    stopping: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, Fault> {
    let mut service = Service::new("portcullis".to_owned(), gate);
    let mut descriptors = Fds::new();
    for (address, socket) in bound.addresses.iter().zip(bound.sockets) {
        let address = address.to_string();
        match &certificates {
            None => service.add_tcp(&address),
            Some(certificates) => service.add_tls_with_settings(&address, None, tls_settings(certificates.clone())?),
        }
        // From here on the descriptor is Pingora's.
        descriptors.add(address, socket.listener.into_raw_fd());
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
