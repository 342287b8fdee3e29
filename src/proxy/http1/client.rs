//! Our side of a connection to an upstream: a request, and the answer to it.

use super::body::Body;
use super::connection::Connection;
use super::encode::{self, Framing};
use super::head::{self, EndOfHead, Malformed};
use super::wire::Wire;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// An upstream's connection, the request that was sent on it and the answer that comes.
pub(crate) struct ClientSession {
    connection: Connection,
    request: Request,
    /// How the request's body tells its end.
    sends: Sends,
    head: Option<ResponseHeader>,
    /// The answer's.
    body: Body,
    /// Whether another request may follow.
    persistent: bool,
    /// How long the upstream may take for each piece of the body, and when the time for the next one is over.
    read_timeout: Option<Duration>,
    gives_up: Option<Instant>,
}

/// What the meaning of an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Its answer has no body.
    Head,
    /// It asks for another protocol.
    Upgrade,
    Other,
}

/// What a request begins with.
pub(crate) struct Line<'a> {
    pub(crate) method: &'a Method,
    /// In origin form (RFC 9112 §3.2.1).
    pub(crate) target: &'a str,
    pub(crate) framing: Framing,
    /// About how many bytes the fields take.
    pub(crate) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    /// So many bytes are missing.
    Length(u64),
    Chunked,
    /// Whatever it likes: the protocol is another one.
    Raw,
}

impl ClientSession {
    /// On a connection that nothing was sent on yet.
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            // The head of each request says how long a write may take.
            connection: Connection::new(wire, Duration::ZERO),
            request: Request::Other,
            sends: Sends::Length(0),
            head: None,
            body: Body::Done,
            persistent: true,
            read_timeout: None,
            gives_up: None,
        }
    }

    /// Puts a request's head where its body follows; `fields` writes about `size` bytes. What is sent must be taken within `timeout` by
    /// each write.
    pub(crate) fn write_head(&mut self, line: Line<'_>, timeout: Duration, fields: impl FnOnce(&mut Vec<u8>)) {
        let Line { method, target, framing, size } = line;
        self.connection.write_timeout = timeout;
        self.request = match (method, framing) {
            (&Method::HEAD, _) => Request::Head,
            (_, Framing::Upgrade) => Request::Upgrade,
            _ => Request::Other,
        };
        self.sends = match framing {
            Framing::Chunked => Sends::Chunked,
            Framing::Length(length) => Sends::Length(length),
            Framing::None | Framing::Upgrade => Sends::Length(0),
        };
        (self.head, self.body, self.persistent) = (None, Body::Done, true);
        let out = self.connection.out(target.len() + size + 32);
        encode::request_line(out, method, target);
        fields(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Sends the head and a whole body at once.
    ///
    /// # Errors
    /// When the upstream is gone, or takes nothing.
    pub(crate) async fn send_whole(&mut self, body: &[u8]) -> Result<()> {
        self.connection.out(body.len()).extend_from_slice(body);
        self.sends = Sends::Length(0);
        self.connection.flush().await
    }

    /// Sends the next bytes of the request's body; the first time, its head with them.
    ///
    /// # Errors
    /// When the upstream is gone or takes nothing, or these are more bytes than were announced.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.sends {
            _ if bytes.is_empty() => {}
            Sends::Raw => self.connection.write(bytes).await?,
            Sends::Chunked => self.connection.write_chunk(bytes).await?,
            Sends::Length(left) => match left.checked_sub(bytes.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    self.connection.write(bytes).await?;
                }
                None => return Error::e_explain(ErrorType::InternalError, "more of a body than was announced"),
            },
        }
        self.connection.flush().await
    }

    /// Says that the request is complete.
    ///
    /// # Errors
    /// When the upstream is gone or takes nothing, or waits for more.
    pub(crate) async fn send_end(&mut self) -> Result<()> {
        match self.sends {
            Sends::Chunked => self.connection.out(8).extend_from_slice(encode::LAST_CHUNK),
            Sends::Length(1..) => {
                return Error::e_explain(ErrorType::InternalError, "less of a body than was announced");
            }
            Sends::Length(0) | Sends::Raw => {}
        }
        self.sends = Sends::Length(0);
        self.connection.flush().await
    }

    /// Reads the head of the final answer, `timeout` for all of it; interim ones are not passed on (RFC 9110 §15.2 allows it).
    ///
    /// # Errors
    /// When the upstream is gone, takes too long, or says something else.
    pub(crate) async fn read_head(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        (self.read_timeout, self.gives_up) = (Some(timeout), None);
        let mut end = EndOfHead::default();
        poll_fn(|context| {
            loop {
                if let Some(parsed) = self.parse_head(&mut end) {
                    return Poll::Ready(parsed);
                }
                match self.connection.poll_fill(context) {
                    Poll::Ready(Ok(0)) => {
                        let why = "closed before the head of an answer";
                        return Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, why));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(cause)) => {
                        let why = "reading the head of an answer";
                        return Poll::Ready(Error::e_because(ErrorType::ReadError, why, cause));
                    }
                    Poll::Pending => {
                        ready!(self.connection.poll_deadline(deadline, context));
                        return Poll::Ready(Error::e_explain(ErrorType::ReadTimedout, "the head of an answer"));
                    }
                }
            }
        })
        .await
    }

    /// What was read so far, as the head of the final answer; `None`: there is more to come.
    fn parse_head(&mut self, end: &mut EndOfHead) -> Option<Result<()>> {
        loop {
            let unread = &mut self.connection.unread;
            let found = end.find(unread);
            if found.unwrap_or(unread.len()) > head::MAX_ANSWER {
                return Some(malformed(Malformed::TooLarge));
            }
            let bytes = unread.split_to(found?).freeze();
            *end = EndOfHead::default();
            let answer = head::answer(&bytes, self.request == Request::Head, self.request == Request::Upgrade);
            let head::Answer { head, body, persistent } = match answer {
                Ok(answer) => answer,
                Err(why) => return Some(malformed(why)),
            };
            if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.persistent &= persistent;
            if matches!(body, Body::UntilClose) && head.status == StatusCode::SWITCHING_PROTOCOLS {
                self.sends = Sends::Raw;
            }
            (self.head, self.body) = (Some(head), body);
            return Some(Ok(()));
        }
    }

    /// The head of the answer, once it was read.
    pub(crate) fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_ref()
    }

    /// The next bytes of the answer, `None` at its end.
    ///
    /// # Errors
    /// When the upstream breaks off, or does not keep to its framing.
    pub(crate) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let piece = self.body.poll_next(&mut self.connection, context);
        if piece.is_ready() {
            self.gives_up = None;
            return piece;
        }
        let Some(timeout) = self.read_timeout else { return Poll::Pending };
        let deadline = *self.gives_up.get_or_insert_with(|| Instant::now() + timeout);
        ready!(self.connection.poll_deadline(deadline, context));
        Poll::Ready(Error::e_explain(ErrorType::ReadTimedout, "the body of an answer"))
    }

    /// What follows may be quiet for hours.
    pub(crate) fn streams(&mut self) {
        self.read_timeout = None;
        self.connection.needs_no_timer();
    }

    /// What is sent from now on must be taken within this time by each write.
    pub(crate) fn set_write_timeout(&mut self, timeout: Duration) {
        self.connection.write_timeout = timeout;
    }

    /// Closes the connection.
    pub(crate) async fn close(&mut self) {
        self.connection.end().await;
    }

    /// Whether another request can be sent: both messages are complete, and the upstream has neither said more nor closed.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let complete = self.head.is_some() && self.body.is_done() && self.sends == Sends::Length(0);
        if !(complete && self.persistent && self.connection.unread.is_empty()) {
            return false;
        }
        // An idle connection keeps nothing of the last answer.
        self.head = None;
        self.connection.unread = BytesMut::new();
        true
    }

    /// Whether an idle connection is still good, as far as is known without asking the kernel.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.connection.is_quiet()
    }
}

fn malformed(why: Malformed) -> Result<()> {
    Error::e_explain(
        ErrorType::InvalidHTTPHeader,
        match why {
            Malformed::TooLarge => "the head of an answer is too large",
            Malformed::Head | Malformed::Target => "the head of an answer is malformed",
        },
    )
}
