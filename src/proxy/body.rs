//! The body of a request on its way to an upstream: kept while it is small, so that the request can be repeated.

use super::headers::Framing;
use super::patience::{Patience, is_late};
use super::reply::Refusal;
use crate::config::ConnectionLimits;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::Result;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;

/// Bodies up to this size are kept for a repetition, in bytes. JSON-RPC requests nearly always are.
const KEPT: usize = 64 * 1024;

/// A request's body.
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// All of it, in memory.
    Kept(Bytes),
    /// It flows through; its length in bytes when the caller said so.
    Streamed(Option<u64>),
}

/// Why a body was not taken.
pub(super) enum BodyFailure {
    /// It is refused.
    Refused(Refusal),
    /// The caller is gone.
    Aborted(Box<pingora::Error>),
}

impl From<Box<pingora::Error>> for BodyFailure {
    fn from(error: Box<pingora::Error>) -> Self {
        if is_late(&error) { BodyFailure::Refused(Refusal::BodyTimeout) } else { BodyFailure::Aborted(error) }
    }
}

impl RequestBody {
    /// Takes the body of a request: whole when it is announced as small, as a stream otherwise. Not more than `limit`
    /// bytes.
    pub(super) async fn take(
        session: &mut ServerSession,
        limit: u64,
        patience: &ConnectionLimits,
    ) -> Result<Self, BodyFailure> {
        if session.is_body_empty() {
            return Ok(Self::Empty);
        }
        let length = content_length(session);
        if length.is_some_and(|length| length > limit) {
            return Err(BodyFailure::Refused(Refusal::BodyTooLarge(limit)));
        }
        if session.req_header().headers.contains_key(header::EXPECT) {
            session.write_continue_response().await.map_err(BodyFailure::Aborted)?;
        }
        match length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= KEPT) {
            Some(length) => Ok(Self::read(session, length, Patience::new(patience)).await?),
            None => Ok(Self::Streamed(length)),
        }
    }

    /// Takes the body whole, whatever it says of its length; `None` when it is larger than `limit` bytes.
    pub(super) async fn take_whole(
        session: &mut ServerSession,
        limit: u64,
        patience: &ConnectionLimits,
    ) -> Result<Option<Self>, BodyFailure> {
        if session.is_body_empty() {
            return Ok(Some(Self::Empty));
        }
        if content_length(session).is_some_and(|length| length > limit) {
            return Ok(None);
        }
        if session.req_header().headers.contains_key(header::EXPECT) {
            session.write_continue_response().await.map_err(BodyFailure::Aborted)?;
        }
        let (mut whole, mut patience) = (BytesMut::new(), Patience::new(patience));
        while let Some(chunk) = patience.piece(session).await? {
            if (whole.len() + chunk.len()) as u64 > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(if whole.is_empty() { Self::Empty } else { Self::Kept(whole.freeze()) }))
    }

    async fn read(session: &mut ServerSession, length: usize, mut patience: Patience<'_>) -> Result<Self> {
        // Nearly always the body came in one piece: then no second buffer is needed.
        let mut first = match patience.piece(session).await? {
            Some(chunk) if chunk.len() >= length => return Ok(Self::Kept(chunk)),
            Some(chunk) => BytesMut::from(chunk),
            None => return Ok(Self::Empty),
        };
        first.reserve(length - first.len());
        while let Some(chunk) = patience.piece(session).await? {
            first.extend_from_slice(&chunk);
        }
        Ok(Self::Kept(first.freeze()))
    }

    /// How the upstream will know its end.
    pub(super) fn framing(&self) -> Framing {
        match self {
            RequestBody::Empty => Framing::None,
            RequestBody::Kept(bytes) => Framing::Length(bytes.len() as u64),
            RequestBody::Streamed(Some(length)) => Framing::Length(*length),
            RequestBody::Streamed(None) => Framing::Chunked,
        }
    }

    /// Whether the request can be sent a second time.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, RequestBody::Streamed(_))
    }
}

/// What came of sending a body that flows through.
pub(super) enum Pumped {
    /// The upstream has all of it.
    Sent,
    /// The upstream takes no more: it may have answered already.
    Stopped,
    /// It grew over the limit.
    TooLarge,
    /// It came too slowly.
    Late,
    /// The caller is gone.
    Aborted(Box<pingora::Error>),
}

/// Sends a body piece by piece as it arrives. `http1` bodies are framed by Pingora from the head that was written.
pub(super) async fn pump(
    session: &mut ServerSession,
    upstream: &mut HttpSession,
    limit: u64,
    patience: &ConnectionLimits,
) -> Pumped {
    let (mut total, mut patience) = (0, Patience::new(patience));
    loop {
        match patience.piece(session).await {
            Ok(Some(chunk)) => {
                total += chunk.len() as u64;
                if total > limit {
                    return Pumped::TooLarge;
                }
                // An empty DATA frame in the middle is legal in HTTP/2 and would end a chunked body.
                if !chunk.is_empty() && upstream.write_request_body(chunk, false).await.is_err() {
                    return Pumped::Stopped;
                }
            }
            Ok(None) => break,
            Err(error) if is_late(&error) => return Pumped::Late,
            Err(error) => return Pumped::Aborted(error),
        }
    }
    if upstream.finish_request_body().await.is_err() { Pumped::Stopped } else { Pumped::Sent }
}

/// Reads and forgets a small body before a refusal is written. Otherwise the connection would have to be closed with
/// unread bytes in it, and the reset that follows can overtake the very challenge that a client needs.
///
/// # Errors
/// When the caller is gone, or does not send what it announced.
pub(super) async fn discard_small(session: &mut ServerSession) -> Result<()> {
    let waits_for_permission = session.req_header().headers.contains_key(header::EXPECT);
    let small = content_length(session).is_some_and(|length| length <= KEPT as u64);
    if !small || waits_for_permission || session.is_body_done() {
        return Ok(());
    }
    session.drain_request_body().await
}

/// What a request says its body has, in bytes.
pub(super) fn content_length(session: &ServerSession) -> Option<u64> {
    session.get_header(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
