//! A connection with what was read of it and is nobody's yet, and what waits to be written.

use super::encode;
use super::wire::Wire;
use bytes::{Bytes, BytesMut};
use pingora::{Error, ErrorType, OrErr, Result};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How much is read at once, in bytes: at most, and as long as nobody knows whether there is more. Whoever lets an answer of megabytes
/// wait makes us hold the smaller one of it.
const READ: usize = 64 * 1024;
const READ_FIRST: usize = 16 * 1024;
/// What is larger is written from where it is instead of being copied behind a head, in bytes.
const COPIED: usize = 16 * 1024;
/// How long a peer may take to close after we did.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    /// Connections read through this and keep what came, no more: none has a buffer while it waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A connection and its two ends of bytes.
pub(super) struct Connection {
    wire: Wire,
    /// Read, and not used yet.
    pub(super) unread: BytesMut,
    /// How much is read next, at most; between [`READ_FIRST`] and [`READ`].
    reads: usize,
    /// To be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    watchdog: Watchdog,
    /// When a peer that takes nothing is given up.
    gives_up: Option<Instant>,
    /// A peer that takes no byte for this long is given up.
    pub(super) write_timeout: Duration,
}

impl Connection {
    pub(super) fn new(wire: Wire, write_timeout: Duration) -> Self {
        Self {
            wire,
            unread: BytesMut::new(),
            reads: READ_FIRST,
            out: Vec::new(),
            written: 0,
            watchdog: Watchdog::default(),
            gives_up: None,
            write_timeout,
        }
    }

    /// Reads what is there and puts it behind `unread`; 0 at the end of the connection. While there is always more, it reads more
    /// at once.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..self.reads]);
            ready!(Pin::new(&mut self.wire).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            self.reads = if read.len() == self.reads { READ.min(2 * self.reads) } else { READ_FIRST };
            if self.unread.is_empty() {
                // Exactly as large as what came.
                self.unread = BytesMut::from(read);
            } else {
                self.unread.extend_from_slice(read);
            }
            Poll::Ready(Ok(read.len()))
        })
    }

    /// Whether the peer has neither closed nor said anything, as far as is known without asking the kernel.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.unread.is_empty() && self.poll_fill(&mut context).is_pending()
    }

    /// Room for what is written next.
    pub(super) fn out(&mut self, expected: usize) -> &mut Vec<u8> {
        self.out.reserve(expected);
        &mut self.out
    }

    /// Whether something waits to be written.
    pub(super) fn has_out(&self) -> bool {
        self.written < self.out.len()
    }

    /// Puts bytes behind what waits to be written. What is large is written at once.
    ///
    /// # Errors
    /// Those of [`Connection::flush`].
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.len() <= COPIED {
            self.out.extend_from_slice(&bytes);
            return if self.out.len() > READ { self.flush().await } else { Ok(()) };
        }
        self.flush().await?;
        let mut left = &bytes[..];
        while !left.is_empty() {
            let written = poll_fn(|context| {
                let written = Pin::new(&mut self.wire).poll_write(context, left);
                self.in_time(written, false, context)
            });
            match written.await? {
                0 => return Error::e_explain(ErrorType::WriteError, "the peer takes no more"),
                written => left = &left[written..],
            }
        }
        Ok(())
    }

    /// The same as one chunk of a body (RFC 9112 §7.1). Not for nothing: a chunk of no bytes is the last one.
    ///
    /// # Errors
    /// Those of [`Connection::flush`].
    pub(super) async fn write_chunk(&mut self, bytes: Bytes) -> Result<()> {
        encode::chunk_size(self.out(16), bytes.len());
        self.write(bytes).await?;
        self.out(2).extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Writes what waits to be written.
    ///
    /// # Errors
    /// When the peer is gone, or takes no byte for as long as a write may take.
    pub(super) async fn flush(&mut self) -> Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// The same, for whoever has something else to wait for. The time of a peer that takes nothing runs on meanwhile.
    ///
    /// # Errors
    /// Those of [`Connection::flush`].
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let before = self.written;
        let flushed = self.poll_write_out(context);
        self.in_time(flushed, self.written != before, context)
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let written = ready!(Pin::new(&mut self.wire).poll_write(context, &self.out[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        ready!(Pin::new(&mut self.wire).poll_flush(context))?;
        // An idle connection keeps no memory for what it may write one day.
        self.out = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// What came of writing; an error when it has come to nothing for too long.
    fn in_time<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        progressed: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<T>> {
        if progressed || wrote.is_ready() {
            self.gives_up = None;
        }
        if let Poll::Ready(wrote) = wrote {
            return Poll::Ready(wrote.or_err(ErrorType::WriteError, "writing"));
        }
        let deadline = *self.gives_up.get_or_insert_with(|| Instant::now() + self.write_timeout);
        self.watchdog
            .poll(deadline, context)
            .map(|()| Error::e_explain(ErrorType::WriteTimedout, "the peer takes nothing"))
    }

    /// Waits for `deadline`. Cheap to ask often: most deadlines are met, and moving one to a later time touches no timer.
    pub(super) fn poll_deadline(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        self.watchdog.poll(deadline, context)
    }

    /// Lets go of the timer: the connection may now be quiet for hours.
    pub(super) fn needs_no_timer(&mut self) {
        self.watchdog = Watchdog::default();
    }

    /// Ends our half.
    pub(super) async fn end(&mut self) {
        let ended = poll_fn(|context| Pin::new(&mut self.wire).poll_shutdown(context));
        // One that is blocked by what it still has to send is cut off.
        if let Ok(Err(error)) = tokio::time::timeout(LINGER, ended).await {
            tracing::trace!(%error, "the peer closed first");
        }
    }

    /// Ends our half, and reads away what the peer still sends until it ends its own: bytes that arrive at a closed socket
    /// are answered with RST, which can overtake the answer (RFC 9112 §9.6).
    pub(super) async fn end_and_linger(&mut self) {
        // The beginning of an answer that broke off is still something.
        let _ = tokio::time::timeout(LINGER, self.flush()).await;
        self.end().await;
        let drained = poll_fn(|context| {
            loop {
                self.unread.clear();
                match ready!(self.poll_fill(context)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
        });
        // Whoever goes on sending is cut off.
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

/// A timer that is set once for many deadlines: it only has to go off early enough, and looks again then.
#[derive(Default)]
struct Watchdog(Option<Pin<Box<Sleep>>>);

impl Watchdog {
    fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
