//! Our side of a caller's connection: one request and its answer after the other (RFC 9112 §9.3).

use super::body::Body;
use super::connection::Connection;
use super::encode;
use super::head::{self, EndOfHead, Malformed};
use super::wire::Wire;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// What may be read before the end of a head, in bytes: some more than `route::MAX_HEAD`.
const HEAD_BUDGET: usize = 66 * 1024;
/// About how much a head takes beside its fields, in bytes.
const LINE: usize = 128;
/// A body that nobody wants is read for this long, so that the connection can be used again.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// A caller's connection, and the request on it that is being answered.
pub(crate) struct ServerSession {
    connection: Connection,
    client: SocketAddr,
    head: RequestHeader,
    /// The request's.
    body: Body,
    answer: Answer,
    status: Option<StatusCode>,
    /// Whether another request may follow.
    persistent: bool,
}

/// How the answer tells its end (RFC 9112 §6.3), and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotBegun,
    /// Its head is all of it.
    Bodiless,
    /// So many bytes are missing.
    Length(u64),
    Chunked,
    /// By the end of the connection, which may also speak another protocol by now.
    UntilClose,
    Complete,
}

/// What the head of an answer begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begins {
    pub(crate) status: StatusCode,
    pub(crate) body: BodyOfAnswer,
    /// Whether the fields say when.
    pub(crate) dated: bool,
    /// About how many bytes the fields take.
    pub(crate) size: usize,
}

/// What the fields of an answer say about the end of its body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyOfAnswer {
    Length(u64),
    Chunked,
    UntilClose,
}

impl BodyOfAnswer {
    /// What these fields say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(header::TRANSFER_ENCODING) {
            return Self::Chunked;
        }
        match head::content_length(headers) {
            Ok(Some(length)) => Self::Length(length),
            _ => Self::UntilClose,
        }
    }
}

/// What came instead of the head of a request, if it did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHead {
    /// It is there.
    Ready,
    /// The caller left, or waited for too long.
    Nothing,
    /// Something else: nobody knows where the next one begins.
    Malformed(Malformed),
    /// The beginning of one, and no memory for the rest.
    NoRoom,
}

impl ServerSession {
    /// On a connection of `client`, which must take what it is sent within `write_timeout`.
    pub(crate) fn new(wire: Wire, client: SocketAddr, write_timeout: Duration) -> Self {
        Self {
            connection: Connection::new(wire, write_timeout),
            client,
            head: nothing(),
            body: Body::Done,
            answer: Answer::NotBegun,
            status: None,
            persistent: true,
        }
    }

    /// Reads the next head: `patience` until it begins, and from then on no longer than `whole`. One that comes in pieces is read on
    /// as long as there is room for so many bytes more.
    pub(crate) async fn read_head(
        &mut self,
        (patience, whole): (Duration, Duration),
        has_room_for: impl Fn(usize) -> bool,
    ) -> NextHead {
        if self.connection.unread.is_empty() {
            // What is left of the last request keeps its memory.
            self.connection.unread = BytesMut::new();
        }
        self.head = nothing();
        (self.answer, self.status) = (Answer::NotBegun, None);
        let mut deadline = Instant::now() + patience;
        let (mut end, mut held) = (EndOfHead::default(), 0);
        poll_fn(|context| {
            loop {
                if let Some(found) = self.parse_head(&mut end) {
                    return Poll::Ready(found);
                }
                let more = self.connection.unread.len() - held;
                if more > 0 && held == 0 {
                    deadline = deadline.min(Instant::now() + whole);
                }
                if more > 0 && !has_room_for(more) {
                    // It is not to be kept while the refusal is on its way.
                    self.connection.unread = BytesMut::new();
                    return Poll::Ready(NextHead::NoRoom);
                }
                held += more;
                match self.connection.poll_fill(context) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(NextHead::Nothing),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => {
                        ready!(self.connection.poll_deadline(deadline, context));
                        return Poll::Ready(NextHead::Nothing);
                    }
                }
            }
        })
        .await
    }

    /// What was read so far, as a head; `None`: there is more to come.
    fn parse_head(&mut self, end: &mut EndOfHead) -> Option<NextHead> {
        let unread = &mut self.connection.unread;
        if unread.is_empty() {
            return None;
        }
        let new = end.is_new();
        let Some(length) = end.find(unread) else {
            if unread.len() > HEAD_BUDGET {
                return Some(NextHead::Malformed(Malformed::TooLarge));
            }
            // What is no HTTP at all is told so at once. Later pieces are not looked at before the end is there: a head
            // that comes byte by byte would be parsed as often.
            let hopeless = new && !head::may_begin_request(unread);
            return hopeless.then_some(NextHead::Malformed(Malformed::Head));
        };
        if length > HEAD_BUDGET {
            return Some(NextHead::Malformed(Malformed::TooLarge));
        }
        let bytes = unread.split_to(length).freeze();
        match head::request(&bytes) {
            Ok(head::Request { head, body, persistent }) => {
                (self.head, self.body, self.persistent) = (head, body, persistent);
                Some(NextHead::Ready)
            }
            Err(malformed) => {
                self.persistent = false;
                Some(NextHead::Malformed(malformed))
            }
        }
    }

    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }

    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The status of the answer, once its head was written; interim ones do not count.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Whether the caller begins a WebSocket (RFC 6455 §4.1). Other protocols are not spoken here, and whoever asks for one is
    /// answered as if it had not (RFC 9110 §7.8).
    pub(crate) fn asks_for_upgrade(&self) -> bool {
        let names_it = |value: &HeaderValue| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
        };
        self.head.version == Version::HTTP_11
            && self.head.method == Method::GET
            && self.head.headers.get_all(header::UPGRADE).iter().any(names_it)
    }

    /// Whether everything of the request has been read.
    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// No request comes after this one.
    pub(crate) fn close_after(&mut self) {
        self.persistent = false;
    }

    /// The next bytes of the request, `None` at its end.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.body.poll_next(&mut self.connection, context)).await
    }

    /// The next bytes of the request if they are wanted; otherwise waits for the caller to leave, and meanwhile writes what waits to
    /// be written. What the caller sends then is its next request, and kept.
    ///
    /// # Errors
    /// When the caller has left, or takes nothing of what is written.
    pub(crate) async fn read_body_or_leave(&mut self, wants_body: bool) -> Result<Option<Bytes>> {
        poll_fn(|context| {
            if self.connection.has_out()
                && let Poll::Ready(written) = self.connection.poll_flush(context)
            {
                written?;
            }
            if wants_body && !self.body.is_done() {
                return self.body.poll_next(&mut self.connection, context);
            }
            if !self.connection.unread.is_empty() {
                return Poll::Pending;
            }
            match ready!(self.connection.poll_fill(context)) {
                Ok(0) => Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, "the caller left")),
                Ok(_) => Poll::Pending,
                Err(cause) => Poll::Ready(Error::e_because(ErrorType::ReadError, "the caller is gone", cause)),
            }
        })
        .await
    }

    /// Lets a caller go on that waits for permission to send its body (RFC 9110 §10.1.1).
    pub(crate) async fn write_continue(&mut self) -> Result<()> {
        self.connection.out(32).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.connection.flush().await
    }

    /// Puts the head of the answer where the rest of it follows; it is written with that, or when it has to be waited for.
    pub(crate) fn write_head(&mut self, head: &ResponseHeader) {
        let begins = Begins {
            status: head.status,
            body: BodyOfAnswer::of(&head.headers),
            dated: head.headers.contains_key(header::DATE),
            size: encode::size_of(&head.headers),
        };
        self.begin(begins, |out| encode::fields(out, &head.headers));
    }

    /// The same for a head whose fields are written where they belong.
    pub(crate) fn begin(&mut self, begins: Begins, fields: impl FnOnce(&mut Vec<u8>)) {
        let Begins { status, body, dated, size } = begins;
        self.answer = match body {
            _ if self.head.method == Method::HEAD => Answer::Bodiless,
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Answer::Bodiless,
            BodyOfAnswer::Length(length) => Answer::Length(length),
            BodyOfAnswer::Chunked => Answer::Chunked,
            BodyOfAnswer::UntilClose => Answer::UntilClose,
        };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.body = Body::UntilClose;
        }
        // An unread body would be taken for the next request.
        self.persistent &= self.body.is_done() && self.answer != Answer::UntilClose;
        self.status = Some(status);
        let answering = encode::Answering { status, version: self.head.version, dated, close: !self.persistent };
        encode::answer(self.connection.out(size + LINE), answering, fields);
    }

    /// Puts the next bytes of the answer behind what waits to be written, and writes all of it at the `end`.
    ///
    /// # Errors
    /// When the caller is gone or takes nothing, or these are more bytes than were announced.
    pub(crate) async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        if !bytes.is_empty() {
            self.write_piece(bytes).await?;
        }
        if !end {
            return Ok(());
        }
        match self.answer {
            Answer::Chunked => self.connection.out(8).extend_from_slice(encode::LAST_CHUNK),
            // The caller will miss the rest, and must not take the next answer for it.
            Answer::Length(1..) => self.persistent = false,
            _ => {}
        }
        self.answer = Answer::Complete;
        self.connection.flush().await
    }

    async fn write_piece(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.answer {
            Answer::Bodiless => Ok(()),
            Answer::UntilClose => self.connection.write(bytes).await,
            Answer::Chunked => self.connection.write_chunk(bytes).await,
            Answer::Length(left) if *left >= bytes.len() as u64 => {
                *left -= bytes.len() as u64;
                self.connection.write(bytes).await
            }
            Answer::Length(_) | Answer::NotBegun | Answer::Complete => {
                self.persistent = false;
                Error::e_explain(ErrorType::InternalError, "more of an answer than was announced")
            }
        }
    }

    /// Writes what waits to be written.
    ///
    /// # Errors
    /// When the caller is gone, or takes nothing.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    /// Reads the rest of the request away.
    ///
    /// # Errors
    /// When the caller is gone, or takes too long.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        if self.body.is_done() {
            return Ok(());
        }
        let drained = async {
            while self.read_body().await?.is_some() {}
            Ok(())
        };
        let late = |_| Error::explain(ErrorType::ReadTimedout, "a body that nobody wants took too long");
        tokio::time::timeout(DRAIN_DEADLINE, drained).await.map_err(late)?
    }

    /// Ends this request. False when no other can follow; the connection is closed then.
    pub(crate) async fn finish(&mut self) -> bool {
        if self.connection.flush().await.is_err() {
            return false;
        }
        let whole = self.answer == Answer::Complete || self.answer == Answer::Bodiless;
        if self.persistent && whole && self.drain().await.is_ok() {
            return true;
        }
        self.close().await;
        false
    }

    /// Closes the connection in such a way that the caller sees what was written last.
    pub(crate) async fn close(&mut self) {
        self.connection.end_and_linger().await;
    }

    /// The connection may now be quiet for hours.
    pub(crate) fn streams(&mut self) {
        self.connection.needs_no_timer();
    }
}

/// The head of no request.
fn nothing() -> RequestHeader {
    http::Request::new(()).into_parts().0.into()
}
