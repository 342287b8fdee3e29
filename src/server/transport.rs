//! A connection as Pingora wants to have it for HTTP/2.

use crate::proxy::{Progress, Wire};
use async_trait::async_trait;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TcpKeepalive,
    TimingDigest, UniqueID,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// An idle connection is probed after this long, this often, and given up after so many probes.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: usize = 3;
/// How long a peer may take to close after we did.
const LINGER: Duration = Duration::from_secs(1);

/// Prepares a caller's connection. What is sent must be acknowledged within `user_timeout` (RFC 5482).
///
/// # Errors
/// When it is closed already.
pub(super) fn prepare(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A caller may vanish without a word. Then the kernel ends the connection: when nothing that was sent is acknowledged
    // for as long as a write may take, and when an idle connection answers no probe.
    let keepalive = TcpKeepalive { idle: PROBE_AFTER, interval: PROBE_EVERY, count: PROBES, user_timeout };
    set_tcp_keepalive(stream, &keepalive).map_err(io::Error::other)
}

/// A connection that speaks HTTP/2, and who is at its other end.
pub(super) struct Transport {
    wire: Wire,
    descriptor: RawFd,
    peer: Arc<SocketDigest>,
    carried: Arc<ProxyDigest>,
    /// Runs from our own end of the connection on.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Transport {
    /// Takes a connection of `client`. The gate tells `progress` about its first request.
    ///
    /// # Errors
    /// When it is no connection with TLS of ours.
    pub(super) fn new(wire: Wire, client: SocketAddr, progress: &Progress) -> io::Result<Self> {
        let Wire::Tls(stream) = &wire else { return Err(io::ErrorKind::Unsupported.into()) };
        let descriptor = stream.get_ref().0.as_raw_fd();
        let peer = SocketDigest::from_raw_fd(descriptor);
        // Nobody else has seen this digest: it takes the address.
        let _ = peer.peer_addr.set(Some(PeerAddress::Inet(client)));
        let carried = Arc::new(progress.carried().map_err(io::Error::other)?);
        Ok(Self { wire, descriptor, peer: Arc::new(peer), carried, linger: None })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.descriptor)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    /// Ends our half, and reads away what the peer still sends until it ends its own: bytes that arrive at a closed socket
    /// are answered with RST, which can overtake what was sent last.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.wire).poll_shutdown(context))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scrap = [0; 4096];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut this.wire).poll_read(context, &mut scrap));
            if read.is_err() || scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[async_trait]
impl Shutdown for Transport {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::trace!(%error, "the peer closed first");
        }
    }
}

impl UniqueID for Transport {
    fn id(&self) -> RawFd {
        self.descriptor
    }
}

impl Ssl for Transport {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(ALPN::H2)
    }
}

#[async_trait]
impl Peek for Transport {}

impl GetTimingDigest for Transport {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Transport {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.carried.clone())
    }
}

impl GetSocketDigest for Transport {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.peer.clone())
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.peer = Arc::new(digest);
    }
}
