//! The body of a message on its way in (RFC 9112 §6.3).

use super::chunks::Chunks;
use super::connection::Connection;
use bytes::Bytes;
use pingora::{Error, ErrorType, OrErr, Result};
use std::task::{Context, Poll, ready};

/// Where the body of a message is.
#[derive(Debug)]
pub(super) enum Body {
    /// There is none, or it was read to its end.
    Done,
    /// So many bytes are to come; never 0.
    Length(u64),
    /// It tells its end.
    Chunked(Chunks),
    /// It goes on until the connection ends: an answer without a length, or what follows an upgrade.
    UntilClose,
}

impl Body {
    /// One of this many bytes.
    pub(super) fn of_length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    /// One in the chunked coding.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::default())
    }

    /// Whether it was read to its end.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The next bytes, `None` at the end. Bytes behind the end stay in the connection.
    ///
    /// # Errors
    /// When the connection ends before the body does, or the body does not keep to its framing.
    pub(super) fn poll_next(
        &mut self,
        connection: &mut Connection,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !connection.unread.is_empty() {
                let piece = self.take(connection)?;
                if !piece.is_empty() {
                    return Poll::Ready(Ok(Some(piece)));
                }
                continue;
            }
            if ready!(connection.poll_fill(context)).or_err(ErrorType::ReadError, "reading a body")? == 0 {
                if matches!(self, Self::UntilClose) {
                    *self = Self::Done;
                    return Poll::Ready(Ok(None));
                }
                return Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, "closed before the end of a body"));
            }
        }
    }

    /// The payload in what was read.
    fn take(&mut self, connection: &mut Connection) -> Result<Bytes> {
        let unread = &mut connection.unread;
        match self {
            Self::Done => Ok(Bytes::new()),
            Self::UntilClose => Ok(unread.split().freeze()),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(unread.split_to(length).freeze())
            }
            Self::Chunked(chunks) => {
                let (payload, used) = chunks.decode(unread)?;
                if chunks.is_complete() {
                    *self = Self::Done;
                }
                let mut piece = unread.split_to(used);
                piece.truncate(payload);
                Ok(piece.freeze())
            }
        }
    }
}
