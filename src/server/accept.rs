//! The way in: connections are accepted, counted and greeted here, before any of them speaks HTTP.
//!
//! The loop is ours because Pingora's gives a handshake 60 s, HTTP/2 any time to its first request, and nobody the chance
//! to count who is connected.

use super::announced::ProxyProtocol;
use super::seats::{Seat, Seats};
use super::transport::{self, Transport};
use crate::config::Config;
use crate::proxy::{Gate, Progress, Wire};
use crate::tls::{self, Served};
use arc_swap::ArcSwap;
use pingora::apps::ServerApp;
use pingora::listeners::tls::TlsSettings;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

/// How long accepting rests when the process has no descriptors left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What every listener shares.
pub(super) struct Reception {
    pub(super) gate: Arc<Gate>,
    /// None: plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) seats: Arc<Seats>,
    pub(super) manners: Arc<ArcSwap<Manners>>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// How a connection is greeted, as far as the configuration decides.
pub(super) struct Manners {
    /// Where load balancers announce whose connections they are.
    proxy_protocol: Option<ProxyProtocol>,
    /// From accepting to the end of the TLS handshake, and from there to the first request.
    head_timeout: Duration,
    /// A peer that acknowledges nothing for this long is gone.
    write_timeout: Duration,
}

impl Manners {
    pub(super) fn of(config: &Config) -> Self {
        let server = &config.server;
        Self {
            proxy_protocol: server.proxy_protocol.then(|| ProxyProtocol::new(&server.trusted_proxies)),
            head_timeout: config.limits.connections.head_timeout,
            write_timeout: config.streams.write_timeout,
        }
    }
}

impl Reception {
    /// Accepts until the gateway stops; connections that are open then go on.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let greet = |stream, seat| drop(tokio::spawn(self.clone().greet(stream, seat)));
        accept_all(listener, &self.seats, self.stopping.clone(), greet).await;
    }

    async fn greet(self: Arc<Self>, stream: TcpStream, mut seat: Seat) {
        // What comes before the first request is on the heap: a connection has no room for it while it lives.
        let Some(Guest { wire, client, write_timeout }) = Box::pin(self.receive(stream, &mut seat)).await else {
            return;
        };
        match protocol(&wire) {
            Protocol::Http1 => self.gate.serve_http1(wire, client, write_timeout).await,
            Protocol::Http2 => self.serve_http2(wire, client).await,
            // An authority has seen the certificate that it asked for, and that is all (RFC 8737 §3).
            Protocol::Acme => close(wire).await,
        }
    }

    async fn serve_http2(&self, wire: Wire, client: SocketAddr) {
        let progress = Progress::default();
        let Ok(transport) = Transport::new(wire, client, &progress) else { return };
        let served = self.gate.process_new(Box::new(transport), &self.stopping);
        tokio::pin!(served);
        // Its requests come in tasks of their own, so that the first of them is waited for here.
        let patience = self.manners.load().head_timeout;
        tokio::select! { biased;
            _ = &mut served => return,
            came = timeout_at(Instant::now() + patience, progress.first_request()) => if came.is_err() {
                return tracing::debug!("no request came over HTTP/2");
            },
        }
        served.await;
    }

    /// Learns whose connection it is, and shakes hands: what HTTP is spoken on, if anything.
    async fn receive(&self, mut stream: TcpStream, seat: &mut Seat) -> Option<Guest> {
        let manners = self.manners.load_full();
        let deadline = Instant::now() + manners.head_timeout;
        let client = manners.client_of(&mut stream).await?;
        if !seat.belongs_to(client.ip()) {
            return None;
        }
        let write_timeout = manners.write_timeout;
        transport::prepare(&stream, write_timeout).ok()?;
        let Some(acceptor) = &self.tls else { return Some(Guest { wire: Wire::Tcp(stream), client, write_timeout }) };
        match timeout_at(deadline, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(Guest { wire: Wire::Tls(Box::new(stream)), client, write_timeout }),
            Ok(Err(error)) => tracing::debug!(client = %client.ip(), %error, "no TLS handshake"),
            Err(_) => tracing::debug!(client = %client.ip(), "a TLS handshake took too long"),
        }
        None
    }
}

/// A connection that has been greeted.
struct Guest {
    wire: Wire,
    client: SocketAddr,
    write_timeout: Duration,
}

/// What is spoken on a connection (RFC 7301).
enum Protocol {
    Http1,
    Http2,
    Acme,
}

fn protocol(wire: &Wire) -> Protocol {
    let Wire::Tls(stream) = wire else { return Protocol::Http1 };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        Some(b"http/1.1") | None => Protocol::Http1,
        Some(_) => Protocol::Acme,
    }
}

async fn close(mut wire: Wire) {
    if let Err(error) = wire.shutdown().await {
        tracing::trace!(%error, "the peer closed first");
    }
}

/// Accepts until the gateway stops, and hands on what gets a seat.
pub(super) async fn accept_all(
    listener: TcpListener,
    seats: &Arc<Seats>,
    mut stopping: watch::Receiver<bool>,
    greet: impl Fn(TcpStream, Seat),
) {
    loop {
        let accepted = tokio::select! { biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Without a seat the connection is closed at once: an answer would cost what is lacking.
            Ok((stream, _)) => {
                if let Some(seat) = seats.take() {
                    greet(stream, seat);
                }
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn rest(error: &io::Error) {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
    } else {
        tracing::debug!(%error, "a connection was gone before it was accepted");
    }
}

impl Manners {
    /// Whose connection it is: the peer's, or that of whom the peer announces.
    pub(super) async fn client_of(&self, stream: &mut TcpStream) -> Option<SocketAddr> {
        let peer = stream.peer_addr().ok()?;
        let Some(protocol) = &self.proxy_protocol else { return Some(peer) };
        let announced = protocol.receive(stream, peer).await;
        announced.inspect_err(|refused| tracing::debug!(client = %peer.ip(), %refused, "a connection was refused")).ok()
    }
}

/// HTTP/2 and HTTP/1.1 over TLS 1.3 and 1.2, certificates from `resolver`; and what an authority speaks that looks whether a name is
/// ours.
///
/// # Errors
/// Never with these settings.
pub(super) fn acceptor(resolver: Arc<Served>) -> pingora::Result<TlsAcceptor> {
    // No files: the resolver has the certificate.
    let mut settings = TlsSettings::intermediate("", "")?;
    settings.set_cert_resolver(resolver);
    settings.enable_h2();
    // Pingora's settings take two protocols at most.
    Ok(tls::as_we_serve(settings.build().acceptor.config()).into())
}
