//! The body of a request on its way to an upstream. What is small is kept, so that the request can be repeated.
//!
//! A body that is announced as small is read whole before anything is sent: an upstream cannot do anything with half a
//! JSON-RPC message, and a slow caller does not hold one of its connections. A body without a length (chunked, or HTTP/2)
//! may be a stream that never ends: what has arrived goes on at once, and a copy is kept as long as it stays small.

use super::budget::{Budget, Share};
use super::http1::Framing;
use super::patience::{Patience, is_late};
use super::reply::Refusal;
use super::session::ClientSession;
use super::session::ServerSession;
use crate::config::{ConnectionLimits, Server};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header;
use pingora::Result;
use prometheus_client::metrics::gauge::Gauge;

/// Bodies up to this size are read away before a refusal, in bytes.
const DISCARDED: u64 = 64 * 1024;

/// What bodies may be.
pub(super) struct Bodies {
    /// The largest that is forwarded, in bytes.
    max: u64,
    /// The largest that is kept, in bytes.
    kept: usize,
    /// For all that are kept.
    budget: Budget,
    /// How long callers may take over them.
    patience: ConnectionLimits,
}

/// A request's body: what has been read of it, and the rest to come.
pub(super) struct RequestBody<'b> {
    bodies: &'b Bodies,
    /// How much of it may be kept, in bytes.
    most_kept: usize,
    /// Everything that has been read, as long as it is kept; otherwise what has not been sent yet.
    bytes: Bytes,
    /// The same while it comes in pieces; `bytes` is empty then.
    pieces: Vec<u8>,
    /// What they take of the share, in bytes.
    room: usize,
    /// As large as the memory of `bytes`, as long as they are kept.
    share: Option<Share<'b>>,
    /// Whether something was sent that was not kept.
    gone: bool,
    /// Whether everything has been read.
    whole: bool,
    /// Its length in bytes, when the caller said so.
    announced: Option<u64>,
    /// How much has been read, in bytes.
    read: u64,
    patience: Patience<'b>,
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
        if is_late(&error) { Self::Refused(Refusal::BodyTimeout) } else { Self::Aborted(error) }
    }
}

impl Bodies {
    pub(super) fn new(server: &Server, patience: ConnectionLimits, used: Gauge) -> Self {
        let kept = usize::try_from(server.kept_body.min(server.max_body)).unwrap_or(usize::MAX);
        Self { max: server.max_body, kept, budget: Budget::new(server.kept_total, used), patience }
    }

    /// Takes the body of a request, as far as it is read before anything is sent.
    ///
    /// # Errors
    /// When it is too large, or the caller is too slow or gone.
    pub(super) async fn take(&self, session: &mut ServerSession) -> Result<RequestBody<'_>, BodyFailure> {
        let mut body = self.begin(session, self.kept).await?;
        match body.announced {
            _ if body.whole => {}
            Some(length) if length <= self.kept as u64 => body.collect(session).await?,
            Some(_) => body.share = None,
            None => body.take_what_is_there(session)?,
        }
        Ok(body)
    }

    /// Takes the body of a request into memory whole, whatever it says of its length; `None` when it is larger than
    /// `most` bytes.
    ///
    /// # Errors
    /// When there is no memory left for it, or the caller is too slow or gone.
    pub(super) async fn take_whole(
        &self,
        session: &mut ServerSession,
        most: usize,
    ) -> Result<Option<RequestBody<'_>>, BodyFailure> {
        if content_length(session).is_some_and(|length| length > most as u64) {
            return Ok(None);
        }
        let mut body = self.begin(session, most).await?;
        body.collect(session).await?;
        match body.kept() {
            Some(_) => Ok(Some(body)),
            None if body.read > most as u64 => Ok(None),
            None => Err(BodyFailure::Refused(Refusal::Busy)),
        }
    }

    async fn begin(&self, session: &mut ServerSession, most_kept: usize) -> Result<RequestBody<'_>, BodyFailure> {
        let body = RequestBody {
            bodies: self,
            most_kept,
            bytes: Bytes::new(),
            pieces: Vec::new(),
            room: 0,
            share: Some(self.budget.share()),
            gone: false,
            whole: session.is_body_done(),
            announced: content_length(session),
            read: 0,
            patience: Patience::new(&self.patience),
        };
        if body.announced.is_some_and(|length| length > self.max) {
            return Err(BodyFailure::Refused(Refusal::BodyTooLarge(self.max)));
        }
        if !body.whole && session.req_header().headers.contains_key(header::EXPECT) {
            session.write_continue_response().await.map_err(BodyFailure::Aborted)?;
        }
        Ok(body)
    }
}

impl RequestBody<'_> {
    /// The whole body, if it is in memory.
    pub(super) fn kept(&self) -> Option<&[u8]> {
        (self.whole && !self.gone).then(|| self.read_so_far())
    }

    /// The whole body, taken out. What it takes of the memory for bodies is given back with the rest of it.
    pub(super) fn taken(&mut self) -> Bytes {
        self.let_go()
    }

    /// Whether it can be sent, also if it was sent before: everything that has been read is still there.
    pub(super) fn is_repeatable(&self) -> bool {
        !self.gone
    }

    /// How the upstream will know its end.
    pub(super) fn framing(&self) -> Framing {
        match (self.kept(), self.announced) {
            (Some([]), None) => Framing::None,
            (Some(bytes), _) => Framing::Length(bytes.len() as u64),
            (None, Some(length)) => Framing::Length(length),
            (None, None) => Framing::Chunked,
        }
    }

    /// Reads on until the body is whole, or too large to be kept.
    ///
    /// # Errors
    /// When the body is too large to be forwarded, or the caller is too slow or gone.
    pub(super) async fn collect(&mut self, session: &mut ServerSession) -> Result<(), BodyFailure> {
        while !self.whole && self.share.is_some() {
            let piece = self.patience.piece(session).await;
            self.take_piece(piece)?;
        }
        Ok(())
    }

    /// Reads what can be read without waiting.
    fn take_what_is_there(&mut self, session: &mut ServerSession) -> Result<(), BodyFailure> {
        while !self.whole && self.share.is_some() {
            let Some(piece) = self.patience.piece(session).now_or_never() else { break };
            self.take_piece(piece)?;
        }
        Ok(())
    }

    fn take_piece(&mut self, piece: Result<Option<Bytes>>) -> Result<(), BodyFailure> {
        match piece? {
            Some(piece) => {
                self.count(&piece)?;
                if !self.keep(&piece) {
                    self.append(&piece);
                }
            }
            None => {
                self.whole = true;
                // What comes without a length and has none is told from a request without a body.
                self.announced.get_or_insert(self.read);
            }
        }
        Ok(())
    }

    fn count(&mut self, piece: &Bytes) -> Result<(), BodyFailure> {
        self.read += piece.len() as u64;
        match self.read > self.bodies.max {
            true => Err(BodyFailure::Refused(Refusal::BodyTooLarge(self.bodies.max))),
            false => Ok(()),
        }
    }

    /// Keeps one more piece. `false` when that would be too much: from then on nothing is kept.
    fn keep(&mut self, piece: &Bytes) -> bool {
        let needed = self.read_so_far().len() + piece.len();
        let room = match needed > self.room {
            // Nearly always a body comes in one piece, which stays where it was read.
            true if self.room == 0 => needed,
            true => needed.next_power_of_two().min(self.most_kept),
            false => self.room,
        };
        let share = self.share.as_mut().filter(|_| needed <= self.most_kept);
        if !share.is_some_and(|share| share.grow(room - self.room)) {
            self.share = None;
            return false;
        }
        match std::mem::replace(&mut self.room, room) {
            0 => self.bytes = piece.clone(),
            _ => self.append(piece),
        }
        true
    }

    fn append(&mut self, piece: &[u8]) {
        let begun = std::mem::take(&mut self.bytes);
        let missing = self.room.saturating_sub(self.pieces.len()).max(begun.len() + piece.len());
        self.pieces.reserve_exact(missing);
        self.pieces.extend_from_slice(&begun);
        self.pieces.extend_from_slice(piece);
    }

    fn read_so_far(&self) -> &[u8] {
        if self.pieces.is_empty() { &self.bytes } else { &self.pieces }
    }

    /// What was kept, kept no longer.
    fn let_go(&mut self) -> Bytes {
        self.gone = true;
        match self.pieces.is_empty() {
            true => std::mem::take(&mut self.bytes),
            false => std::mem::take(&mut self.pieces).into(),
        }
    }

    /// Sends what has been read, and then the rest as it arrives. In HTTP/1.1 the head that was
    /// written says how it is framed.
    pub(super) async fn send(&mut self, session: &mut ServerSession, upstream: &mut ClientSession) -> Sent {
        let begun = match self.share {
            Some(_) => Bytes::copy_from_slice(self.read_so_far()),
            None => self.let_go(),
        };
        if !begun.is_empty() && upstream.write_request_body(begun).await.is_err() {
            return Sent::Partly;
        }
        while !self.whole {
            let piece = match self.patience.piece(session).await {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    self.whole = true;
                    break;
                }
                Err(error) => return Sent::Failed(error.into()),
            };
            if let Err(failure) = self.count(&piece) {
                return Sent::Failed(failure);
            }
            if self.share.is_some() && !self.keep(&piece) {
                self.let_go();
            }
            // An empty DATA frame in the middle is legal in HTTP/2 and would end a chunked body.
            if !piece.is_empty() && upstream.write_request_body(piece).await.is_err() {
                return Sent::Partly;
            }
        }
        if upstream.finish_request_body().await.is_err() { Sent::Partly } else { Sent::Whole }
    }
}

/// What came of sending a body.
pub(super) enum Sent {
    /// The upstream has all of it.
    Whole,
    /// The upstream takes no more: it may have answered already.
    Partly,
    /// It grew over the limit, or the caller is too slow or gone.
    Failed(BodyFailure),
}

/// Reads and forgets a small body before a refusal is written. Otherwise the connection would have to be closed with
/// unread bytes in it, and the reset that follows can overtake the very challenge that a client needs.
///
/// # Errors
/// When the caller is gone, or does not send what it announced.
pub(super) async fn discard_small(session: &mut ServerSession) -> Result<()> {
    let waits_for_permission = session.req_header().headers.contains_key(header::EXPECT);
    let small = content_length(session).is_some_and(|length| length <= DISCARDED);
    if !small || waits_for_permission || session.is_body_done() {
        return Ok(());
    }
    session.drain_request_body().await
}

/// What a request says its body has, in bytes.
pub(super) fn content_length(session: &ServerSession) -> Option<u64> {
    session.get_header(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
