//! How long a caller may take over the body of a request. Time in which we do not read does not count.

use super::session::ServerSession;
use crate::config::ConnectionLimits;
use bytes::Bytes;
use futures_util::FutureExt;
use pingora::{Error, ErrorSource, ErrorType, Result};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// Waits for the pieces of one body: for each a while, and for all of them as long as their average rate allows.
pub(super) struct Patience<'a> {
    limits: &'a ConnectionLimits,
    waited: Duration,
    received: u64,
}

impl<'a> Patience<'a> {
    pub(super) fn new(limits: &'a ConnectionLimits) -> Self {
        Self { limits, waited: Duration::ZERO, received: 0 }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the caller is gone, or too slow: [`is_late`].
    pub(super) async fn piece(&mut self, session: &mut ServerSession) -> Result<Option<Bytes>> {
        let mut read = pin!(session.read_request_body());
        // Nearly always it is there: then nobody looks at a clock.
        let piece = match read.as_mut().now_or_never() {
            Some(piece) => piece?,
            None => {
                let began = Instant::now();
                let piece = tokio::time::timeout(self.left(), read).await;
                self.waited += began.elapsed();
                let late = |_| Error::explain(ErrorType::ReadTimedout, "the body came too slowly").into_down();
                piece.map_err(late)??
            }
        };
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    fn left(&self) -> Duration {
        let Some(earned) = self.received.checked_div(u64::from(self.limits.body_min_rate)) else {
            return self.limits.body_timeout;
        };
        let whole = self.limits.body_timeout.saturating_add(Duration::from_secs(earned));
        whole.saturating_sub(self.waited).min(self.limits.body_timeout)
    }
}

/// Whether it was the caller who was too slow.
pub(super) fn is_late(error: &Error) -> bool {
    *error.etype() == ErrorType::ReadTimedout && *error.esource() == ErrorSource::Downstream
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(body_min_rate: u32, waited: u64, received: u64) -> u64 {
        let limits = ConnectionLimits { body_timeout: Duration::from_secs(30), body_min_rate, ..Default::default() };
        Patience { limits: &limits, waited: Duration::from_secs(waited), received }.left().as_secs()
    }

    #[test]
    fn pieces_have_their_time_and_the_whole_has_its_rate() {
        assert_eq!(left(512, 0, 0), 30);
        assert_eq!(left(512, 29, 29), 1, "a byte a second");
        assert_eq!(left(512, 300, 512 * 300), 30, "honest, if slow");
        assert_eq!(left(512, 100, 512 * 80), 10);
        assert_eq!(left(512, 1, u64::MAX), 30, "what came fast earns no longer silence");
        assert_eq!(left(0, 1_000_000, 1), 30);
    }
}
