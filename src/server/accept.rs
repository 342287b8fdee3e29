//! The way in: connections are accepted, counted and greeted here, before any of them speaks HTTP.
//!
//! The loop is ours because Pingora's gives a handshake 60 s, HTTP/2 any time to its first request, and nobody the chance
//! to count who is connected.

use super::announced::ProxyProtocol;
use super::seats::{Seat, Seats};
use super::transport::Transport;
use crate::proxy::{Gate, Progress};
use crate::tls::CertificateFiles;
use pingora::apps::ServerApp;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::{ALPN, Ssl};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long accepting rests when the process has no descriptors left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What every listener shares.
pub(super) struct Reception {
    pub(super) gate: Arc<Gate>,
    /// None: plain HTTP.
    pub(super) tls: Option<Acceptor>,
    pub(super) seats: Arc<Seats>,
    /// Where load balancers announce whose connections they are.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// From accepting to the end of the TLS handshake, and from there to the first request.
    pub(super) head_timeout: Duration,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Reception {
    /// Accepts until the gateway stops; connections that are open then go on.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        loop {
            let accepted = tokio::select! { biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // Without a seat the connection is closed at once: an answer would cost what is lacking.
                Ok((stream, _)) => {
                    if let Some(seat) = self.seats.take() {
                        tokio::spawn(self.clone().greet(stream, seat));
                    }
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn rest(&self, error: &io::Error) {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
            tracing::error!(%error, "no connection can be accepted");
            tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
        } else {
            tracing::debug!(%error, "a connection was gone before it was accepted");
        }
    }

    async fn greet(self: Arc<Self>, mut stream: TcpStream, mut seat: Seat) {
        let deadline = Instant::now() + self.head_timeout;
        let Ok(mut client) = stream.peer_addr() else { return };
        if let Some(protocol) = &self.proxy_protocol {
            client = match protocol.receive(&mut stream, client).await {
                Ok(announced) => announced,
                Err(refused) => return tracing::debug!(client = %client.ip(), %refused, "a connection was refused"),
            };
        }
        if !seat.belongs_to(client.ip()) {
            return;
        }
        let progress = Progress::default();
        let Ok(transport) = Transport::new(stream, client, progress.clone()) else { return };
        let Some(acceptor) = &self.tls else {
            self.gate.process_new(Box::new(transport), &self.stopping).await;
            return;
        };
        let stream = match timeout_at(deadline, acceptor.tls_handshake(transport)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(client = %client.ip(), %error, "no TLS handshake"),
            Err(_) => return tracing::debug!(client = %client.ip(), "a TLS handshake took too long"),
        };
        let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        let served = self.gate.process_new(Box::new(stream), &self.stopping);
        tokio::pin!(served);
        if http2 {
            // Its requests come in tasks of their own, so that the first of them is waited for here.
            tokio::select! { biased;
                _ = &mut served => return,
                came = timeout_at(Instant::now() + self.head_timeout, progress.first_request()) => if came.is_err() {
                    return tracing::debug!(client = %client.ip(), "no request came over HTTP/2");
                },
            }
        }
        served.await;
    }
}

/// HTTP/2 and HTTP/1.1 over TLS 1.3 and 1.2, certificates from `resolver`.
///
/// # Errors
/// Never with these settings.
pub(super) fn acceptor(resolver: Arc<CertificateFiles>) -> pingora::Result<Acceptor> {
    // No files: the resolver has the certificate.
    let mut settings = TlsSettings::intermediate("", "")?;
    settings.set_cert_resolver(resolver);
    settings.enable_h2();
    Ok(settings.build())
}
