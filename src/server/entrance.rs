//! The way of a connection before its first request: whose it is, when a load balancer in front of us announces that.

use super::announced::ProxyProtocol;
use crate::config::Server;
use crate::proxy::Gate;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::{PreTlsCallback, PreTlsProcess};
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream, UniqueID};
use pingora::server::ShutdownWatch;
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use tokio::io::AsyncRead;

/// What every connection passes before the [`Gate`] reads a request from it, once in its life.
pub(super) struct Entrance {
    gate: Arc<Gate>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    tls: bool,
}

impl Entrance {
    /// In front of `gate`; `tls` when the listeners speak it.
    pub(super) fn new(gate: Gate, server: &Server, tls: bool) -> Self {
        let proxy_protocol = server.proxy_protocol.then(|| Arc::new(ProxyProtocol::new(&server.trusted_proxies)));
        Self { gate: Arc::new(gate), proxy_protocol, tls }
    }

    /// What must happen on a connection before its TLS handshake. Without TLS the same happens in `process_new`: Pingora
    /// does not ask then.
    pub(super) fn before_tls(&self) -> Option<PreTlsCallback> {
        self.proxy_protocol.clone().map(|protocol| protocol as PreTlsCallback)
    }
}

#[async_trait]
impl ServerApp for Entrance {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if let Some(protocol) = self.proxy_protocol.as_ref().filter(|_| !self.tls)
            && let Err(error) = announce(protocol, &mut *stream).await
        {
            tracing::debug!(%error, "a connection was refused");
            return None;
        }
        let mut next = Some(stream);
        while let Some(stream) = next {
            next = self.gate.process_new(stream, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        ServerApp::cleanup(&*self.gate).await;
    }
}

#[async_trait]
impl PreTlsProcess for ProxyProtocol {
    async fn process(&self, stream: &mut TcpStream) -> Result<()> {
        announce(self, stream).await
    }
}

/// From then on the connection's peer is the announced one.
async fn announce<S>(protocol: &ProxyProtocol, stream: &mut S) -> Result<()>
where
    S: AsyncRead + Unpin + GetSocketDigest + UniqueID + ?Sized,
{
    let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
    let peer = peer.ok_or_else(|| Error::explain(ErrorType::HandshakeError, "the connection is gone"))?;
    let refused = |why| Error::because(ErrorType::HandshakeError, "PROXY protocol", why);
    let client = protocol.receive(stream, peer).await.map_err(refused)?;
    let digest = SocketDigest::from_raw_fd(stream.id());
    // Nobody else has seen this digest: it takes the address.
    let _ = digest.peer_addr.set(Some(PeerAddress::Inet(client)));
    stream.set_socket_digest(digest);
    Ok(())
}
