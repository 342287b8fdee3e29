//! The body of an answer on its way in from the upstream.
//!
//! Pingora keeps 64 KiB for every body that it reads. A stream of events is silent most of its life, so it is read without
//! it: what arrives goes through one buffer of each worker thread, and while nothing arrives there is none.

use super::chunks::Chunks;
use super::peer::Connected;
use super::wire::Wire;
use bytes::Bytes;
use http::{HeaderMap, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// How much is read at once, in bytes.
const PIECE: usize = 16 * 1024;
/// What Pingora's pool is made to believe about a connection whose answer was read here: it takes sessions, not streams.
const NOTHING: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

thread_local! {
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// Where the body of an answer comes from.
pub(super) enum Source {
    /// Pingora's session: HTTP/2, and everything that is no stream of events.
    Session(Box<Connected>),
    /// The connection itself.
    Wire(Box<Direct>),
}

/// A body that is read straight from an HTTP/1.1 connection.
pub(super) struct Direct {
    wire: Box<Wire>,
    framing: Framing,
    /// Whether the upstream lets the connection be used again.
    persistent: bool,
    reused: bool,
    peer: HttpPeer,
}

/// How a body tells its end (RFC 9112 §6.3).
enum Framing {
    Chunked(Chunks),
    UntilClose { closed: bool },
}

impl Source {
    /// The body behind the head that `connected` has read; `idle` when it is one that may be silent for hours.
    pub(super) fn new(mut connected: Connected, idle: bool) -> Self {
        if !idle {
            return Source::Session(Box::new(connected));
        }
        connected.session.set_read_timeout(None);
        let framing = match &connected.session {
            HttpSession::H1(session) => direct_framing(session),
            _ => None,
        };
        match (connected.session, framing) {
            (HttpSession::H1(session), Some(framing)) => {
                let persistent = session.resp_header().is_some_and(is_persistent);
                match Wire::take(session.into_inner()) {
                    Ok(wire) => {
                        let Connected { reused, peer, .. } = connected;
                        Source::Wire(Box::new(Direct { wire, framing, persistent, reused, peer }))
                    }
                    // `direct_framing` has made sure that it is one.
                    Err(stream) => Source::Session(Box::new(Connected {
                        session: HttpSession::H1(Http1::new(stream)),
                        reused: connected.reused,
                        peer: connected.peer,
                    })),
                }
            }
            (session, _) => Source::Session(Box::new(Connected { session, ..connected })),
        }
    }

    /// The next bytes of the body, `None` at its end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the upstream breaks off, or does not keep to its framing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Source::Session(connected) => connected.session.read_response_body().await,
            Source::Wire(direct) => poll_fn(|context| direct.poll_next(context)).await,
        }
    }

    /// Closes the connection, or ends the HTTP/2 stream.
    pub(super) async fn shutdown(&mut self) {
        match self {
            Source::Session(connected) => connected.session.shutdown().await,
            Source::Wire(direct) => drop(direct.wire.shutdown().await),
        }
    }

    /// The connection, once the body has ended, if it can be used again.
    pub(super) async fn into_connected(self) -> Option<Connected> {
        let direct = match self {
            Source::Session(connected) => return Some(*connected),
            Source::Wire(direct) => direct,
        };
        let complete = matches!(&direct.framing, Framing::Chunked(chunks) if chunks.is_complete());
        if !complete || !direct.persistent || direct.wire.has_more() {
            return None;
        }
        let mut session = Http1::new(direct.wire.pretend(NOTHING));
        session.read_response().await.ok()?;
        Some(Connected { session: HttpSession::H1(session), reused: direct.reused, peer: direct.peer })
    }
}

impl Direct {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.framing.has_ended() {
                return Poll::Ready(Ok(None));
            }
            let piece = PIECES.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.wire).poll_read(context, &mut buffer))
                    .or_err(ErrorType::ReadError, "reading the body of an answer")?;
                Poll::Ready(self.framing.unframe(buffer.filled_mut(), &mut self.persistent))
            });
            let piece = ready!(piece)?;
            if !piece.is_empty() {
                return Poll::Ready(Ok(Some(piece)));
            }
        }
    }
}

impl Framing {
    fn has_ended(&self) -> bool {
        match self {
            Framing::Chunked(chunks) => chunks.is_complete(),
            Framing::UntilClose { closed } => *closed,
        }
    }

    /// The payload in what was read. Bytes behind the end of the body are nobody's: the connection is not `persistent`.
    fn unframe(&mut self, read: &mut [u8], persistent: &mut bool) -> Result<Bytes> {
        match self {
            Framing::Chunked(_) if read.is_empty() => {
                Error::e_explain(ErrorType::ConnectionClosed, "the upstream closed before the last chunk")
            }
            Framing::Chunked(chunks) => {
                let (payload, used) = chunks.decode(read)?;
                *persistent &= used == read.len();
                Ok(Bytes::copy_from_slice(&read[..payload]))
            }
            Framing::UntilClose { closed } => {
                *closed = read.is_empty();
                Ok(Bytes::copy_from_slice(read))
            }
        }
    }
}

/// The framing of an answer that can be read from the connection; none where it is better left to Pingora.
fn direct_framing(session: &Http1) -> Option<Framing> {
    if !Wire::is_at_body(session.stream(), session.get_headers_raw_bytes().len()) {
        return None;
    }
    let headers = &session.resp_header()?.headers;
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some(Framing::Chunked(Chunks::default()))
        }
        (None, None) if !headers.contains_key(header::CONTENT_LENGTH) => Some(Framing::UntilClose { closed: false }),
        _ => None,
    }
}

/// Whether a connection outlives this answer (RFC 9112 §9.3).
fn is_persistent(head: &ResponseHeader) -> bool {
    head.version == Version::HTTP_11 && !says_close(&head.headers)
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}
