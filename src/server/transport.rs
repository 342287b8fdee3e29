//! A TCP connection as Pingora wants to have it.

use crate::proxy::Progress;
use async_trait::async_trait;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TcpKeepalive, TimingDigest,
    UniqueID,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What is written is collected up to about a segment, so that a head and a small body leave together. Reading needs no
/// buffer: HTTP and TLS have their own.
const WRITE_BUFFER: usize = 1460;
/// An idle connection is probed after this long, this often, and given up after so many probes.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: usize = 3;

/// How long a peer may take to close after we did.
const LINGER: Duration = Duration::from_secs(1);

/// A connection, who is at its other end, and how far it has come.
pub(super) struct Transport {
    stream: BufWriter<TcpStream>,
    peer: Arc<SocketDigest>,
    progress: Progress,
    carried: Arc<ProxyDigest>,
    /// Runs from our own end of the connection on.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Transport {
    /// Takes a connection of `client`, which must acknowledge what it is sent within `user_timeout` (RFC 5482).
    ///
    /// # Errors
    /// When it is closed already.
    pub(super) fn new(
        stream: TcpStream,
        client: SocketAddr,
        progress: Progress,
        user_timeout: Duration,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // A caller may vanish without a word. Then the kernel ends the connection: when nothing that was sent is acknowledged
        // for as long as a write may take, and when an idle connection answers no probe.
        let keepalive = TcpKeepalive { idle: PROBE_AFTER, interval: PROBE_EVERY, count: PROBES, user_timeout };
        set_tcp_keepalive(&stream, &keepalive).map_err(io::Error::other)?;
        let peer = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // Nobody else has seen this digest: it takes the address.
        let _ = peer.peer_addr.set(Some(PeerAddress::Inet(client)));
        let carried = Arc::new(progress.carried().map_err(io::Error::other)?);
        Ok(Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            peer: Arc::new(peer),
            progress,
            carried,
            linger: None,
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({:?})", self.stream.get_ref())
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let limit = this.progress.may_read();
        if limit == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the head is too large")));
        }
        let stream = Pin::new(this.stream.get_mut());
        let before = buffer.filled().len();
        if limit >= buffer.remaining() {
            ready!(stream.poll_read(context, buffer))?;
        } else {
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(limit));
            ready!(stream.poll_read(context, &mut limited))?;
            let read = limited.filled().len();
            buffer.advance(read);
        }
        this.progress.has_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    /// Ends our half, and reads away what the peer still sends until it ends its own: bytes that arrive at a closed socket
    /// are answered with RST, which can overtake the answer (RFC 9112 §9.6).
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scrap = [0; 4096];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(this.stream.get_mut()).poll_read(context, &mut scrap));
            if read.is_err() || scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Transport {}

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
