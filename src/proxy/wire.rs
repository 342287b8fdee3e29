//! A connection to an upstream that can be taken out of Pingora's session once the head of an answer has been read.
//!
//! Pingora's HTTP/1 client reads as much as fits its buffer and keeps what came behind the head for itself. A [`Wire`] ends
//! every read at the end of a head, so that the bytes of the body stay here, whoever reads them.

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that ends reads where heads end.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    head: Head,
    /// What came in one read with the head.
    behind: Vec<u8>,
    /// Whether any of what follows the head was read.
    read_behind: bool,
}

impl Wire {
    /// Puts a connection on which a request was just written, new or from the pool, in front of its answer.
    pub(super) fn before_answer(stream: Stream) -> Stream {
        match Self::take(stream) {
            Ok(mut wire) => {
                wire.head = Head::default();
                wire.read_behind = false;
                wire
            }
            Err(stream) => Box::new(Self { stream, head: Head::default(), behind: Vec::new(), read_behind: false }),
        }
    }

    /// Whether `stream` is one of these, and gave its reader nothing but a final head of `length` bytes.
    pub(super) fn is_at_body(stream: &Stream, length: usize) -> bool {
        let wire = stream.as_ref().as_any().downcast_ref::<Self>();
        wire.is_some_and(|wire| wire.head.is_final() && wire.head.length == length && !wire.read_behind)
    }

    /// The wire that a stream is, or the stream again when it is none.
    pub(super) fn take(stream: Stream) -> std::result::Result<Box<Self>, Stream> {
        if !stream.as_ref().as_any().is::<Self>() {
            return Err(stream);
        }
        match stream.into_any().downcast() {
            Ok(wire) => Ok(wire),
            Err(_) => unreachable!("it was asked what it is"),
        }
    }

    /// Makes the next reader see `head` before anything else.
    pub(super) fn pretend(mut self: Box<Self>, head: &[u8]) -> Stream {
        self.behind.splice(..0, head.iter().copied());
        Self::before_answer(self)
    }

    /// Whether the upstream sent more than it was asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.behind.is_empty()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.behind.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let length = this.behind.len().min(buffer.remaining());
            buffer.put_slice(&this.behind[..length]);
            this.behind.drain(..length);
            if this.behind.is_empty() {
                this.behind = Vec::new();
            }
        }
        let read = &buffer.filled()[before..];
        if this.head.is_final() {
            this.read_behind |= !read.is_empty();
            return Poll::Ready(Ok(()));
        }
        let taken = this.head.feed(read);
        if taken < read.len() {
            this.behind.splice(..0, read[taken..].iter().copied());
            buffer.set_filled(before + taken);
        }
        Poll::Ready(Ok(()))
    }
}

/// Finds the end of a response's head (RFC 9112 §2.1): a blank line behind the status line and the fields.
#[derive(Debug, Default)]
struct Head {
    /// Bytes so far.
    length: usize,
    /// `HTTP/1.1 200`, as far as it came.
    start: [u8; 12],
    /// How much of `start` came.
    have: usize,
    /// Whether the line so far is empty, but for a CR.
    blank: bool,
    complete: bool,
}

impl Head {
    /// Takes bytes up to the end of a head; how many those were. The next one begins a new head when this one was interim.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.complete {
            *self = Self::default();
        }
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                // Blank lines in front of the status line are skipped (RFC 9112 §2.2).
                b'\r' | b'\n' if self.have == 0 => {}
                b'\n' if self.blank => {
                    self.complete = true;
                    self.length += at + 1;
                    return at + 1;
                }
                b'\n' => self.blank = true,
                b'\r' => {}
                byte => {
                    self.blank = false;
                    if let Some(place) = self.start.get_mut(self.have) {
                        *place = *byte;
                        self.have += 1;
                    }
                }
            }
        }
        self.length += bytes.len();
        bytes.len()
    }

    /// Whether the head is complete and no interim one (RFC 9110 §15.2), which another head follows.
    fn is_final(&self) -> bool {
        let interim = self.start[9] == b'1' && self.start[9..] != *b"101";
        self.complete && !interim
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

// What else Pingora asks of a connection is the inner one's to answer.

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Wire {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Wire {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> Result<bool> {
        self.stream.try_peek(buffer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::protocols::http::v1::client::HttpSession;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\r\n\r\n";
    const BODY: &str = "5\r\ndata:\r\n";

    /// What Pingora's session takes of an answer, and what is left on the wire.
    async fn read(answer: &str, step: usize) -> (usize, String) {
        let (mut upstream, stream) = tokio::io::duplex(step);
        let mut session = HttpSession::new(Wire::before_answer(Box::new(stream)));
        let bytes = answer.to_owned();
        tokio::spawn(async move { upstream.write_all(bytes.as_bytes()).await });
        session.read_response().await.unwrap();
        while session.get_status().unwrap().is_informational() && session.get_status().unwrap() != 101 {
            session.read_response().await.unwrap();
        }
        let length = session.get_headers_raw_bytes().len();
        assert!(Wire::is_at_body(session.stream(), length));
        let mut wire = Wire::take(session.into_inner()).unwrap();
        let mut rest = String::new();
        wire.read_to_string(&mut rest).await.unwrap();
        (length, rest)
    }

    proptest! {
        #[test]
        fn pingora_gets_the_head_and_no_more(
            step in 1..300usize,
            interim in "(HTTP/1\\.1 10[023] Early\r\nLink: x\r\n\r\n){0,2}",
            blank in "(\r\n)?",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (length, rest) = runtime.block_on(read(&format!("{interim}{blank}{FINAL}{BODY}"), step));
            prop_assert_eq!(length, blank.len() + FINAL.len());
            prop_assert_eq!(rest, BODY);
        }
    }

    #[tokio::test]
    async fn switching_protocols_is_a_final_head() {
        assert_eq!(read("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x01\x02", 4096).await.1, "\x01\x02");
    }

    #[tokio::test]
    async fn a_pooled_connection_is_not_wrapped_twice_and_stops_at_the_next_head() {
        let (mut upstream, stream) = tokio::io::duplex(4096);
        let mut stream = Wire::before_answer(Box::new(stream));
        for _ in 0..2 {
            stream = Wire::before_answer(stream);
            upstream.write_all(format!("{FINAL}{BODY}").as_bytes()).await.unwrap();
            let mut read = vec![0; 4096];
            assert_eq!(stream.read(&mut read).await.unwrap(), FINAL.len());
            assert_eq!(stream.read(&mut read).await.unwrap(), BODY.len());
        }
        let wire = Wire::take(stream).unwrap();
        assert!(Wire::take(wire.stream).is_err());
    }
}
