//! The body of an answer on its way in from the upstream.
//!
//! Pingora keeps 64 KiB for every body that it reads. A stream of events is silent most of its life, so it is read without
//! it: what arrives goes through one buffer of each worker thread, and while nothing arrives there is none.

use super::chunks::Chunks;
use super::peer::Connected;
use super::wire::Wire;
use crate::upstream::Turn;
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
    turn: Turn,
}

/// How a body tells its end (RFC 9112 §6.3).
enum Framing {
    Chunked(Chunks),
    UntilClose { closed: bool },
}

impl Source {
    /// The body behind the head that `connected` has read; `idle` when it is one that may be silent for hours.
    pub(super) fn new(mut connected: Box<Connected>, idle: bool) -> Self {
        if !idle {
            return Source::Session(connected);
        }
        connected.session.set_read_timeout(None);
        let Connected { session, reused, peer, turn } = *connected;
        let session = match session {
            HttpSession::H1(session) => match take_over(session) {
                Ok((wire, framing, persistent)) => {
                    return Source::Wire(Box::new(Direct { wire, framing, persistent, reused, peer, turn }));
                }
                Err(session) => HttpSession::H1(session),
            },
            session => session,
        };
        Source::Session(Box::new(Connected { session, reused, peer, turn }))
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
    pub(super) async fn into_connected(self) -> Option<Box<Connected>> {
        let direct = match self {
            Source::Session(connected) => return Some(connected),
            Source::Wire(direct) => direct,
        };
        let complete = matches!(&direct.framing, Framing::Chunked(chunks) if chunks.is_complete());
        if !complete || !direct.persistent || direct.wire.has_more() {
            return None;
        }
        let Direct { wire, reused, peer, turn, .. } = *direct;
        let mut session = Http1::new(wire.pretend(NOTHING));
        session.read_response().await.ok()?;
        Some(Box::new(Connected { session: HttpSession::H1(session), reused, peer, turn }))
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

/// The connection of a session that has read a head and nothing else, how its body is framed, and whether it persists; the
/// session again where the body is better left to Pingora.
#[allow(clippy::result_large_err)] // it is handed back, not reported
fn take_over(session: Http1) -> std::result::Result<(Box<Wire>, Framing, bool), Http1> {
    let Some(head) = session.resp_header() else { return Err(session) };
    let (Some(framing), persistent) = (framing_of(&head.headers), is_persistent(head)) else { return Err(session) };
    if !Wire::is_at_body(session.stream(), session.get_headers_raw_bytes().len()) {
        return Err(session);
    }
    match Wire::take(session.into_inner()) {
        Ok(wire) => Ok((wire, framing, persistent)),
        Err(stream) => Err(Http1::new(stream)),
    }
}

/// The two framings of answers that may last (RFC 9112 §6.3).
fn framing_of(headers: &HeaderMap) -> Option<Framing> {
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
