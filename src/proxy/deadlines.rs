//! When an idle stream of events needs a heartbeat, when it has lasted long enough, and when its last event has to be over.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A timer without a deadline is set to this: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The deadlines of a stream of events behind one timer.
pub(super) struct Deadlines {
    heartbeat: Option<Duration>,
    /// When the last byte went to the caller.
    pub(super) last_byte: Instant,
    /// When it has lasted as long as it may.
    expires: Option<Instant>,
    /// When the event that is under way must have ended.
    end_by: Option<Instant>,
}

/// Why the timer fired.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// For nothing: bytes have flowed meanwhile.
    Early,
    /// A heartbeat is due.
    Beat,
    /// The stream has lasted as long as it may.
    Expired,
    /// The last event takes too long.
    TooLate,
}

impl Deadlines {
    /// Those of a stream that begins now.
    pub(super) fn start(heartbeat: Option<Duration>, max_duration: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { heartbeat, last_byte: now, expires: max_duration.map(|duration| now + duration), end_by: None }
    }

    /// When to look again. The timer is not moved at every event: one that is moved a thousand times a second costs more
    /// than one that looks at the clock when it fires.
    pub(super) fn due(&self) -> Instant {
        let beat = self.heartbeat.map(|heartbeat| self.last_byte + heartbeat);
        [beat, self.expires, self.end_by].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// What it is, now that the timer has fired.
    pub(super) fn strike(&mut self) -> Strike {
        let now = Instant::now();
        if self.end_by.is_some_and(|deadline| deadline <= now) {
            return Strike::TooLate;
        }
        if self.expires.take_if(|deadline| *deadline <= now).is_some() {
            return Strike::Expired;
        }
        if self.heartbeat.is_some_and(|heartbeat| self.last_byte + heartbeat <= now) {
            self.last_byte = now;
            return Strike::Beat;
        }
        Strike::Early
    }

    /// The event that is under way must end within `patience`.
    pub(super) fn end_by(&mut self, patience: Duration, timer: Pin<&mut Sleep>) {
        self.end_by = Some(Instant::now() + patience);
        timer.reset(self.due());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn the_nearest_deadline_comes_first_and_each_says_what_it_is() {
        let mut deadlines = Deadlines::start(Some(15 * SECOND), Some(60 * SECOND));
        let began = deadlines.last_byte;
        assert_eq!(deadlines.due(), began + 15 * SECOND);
        assert_eq!(deadlines.strike(), Strike::Early);
        deadlines.last_byte = began.checked_sub(16 * SECOND).unwrap();
        assert_eq!(deadlines.strike(), Strike::Beat);
        assert_eq!(deadlines.strike(), Strike::Early, "a heartbeat counts from the last one");
        deadlines.expires = Some(began);
        assert_eq!(deadlines.strike(), Strike::Expired);
        let timer = tokio::time::sleep(NEVER);
        tokio::pin!(timer);
        deadlines.end_by(Duration::ZERO, timer.as_mut());
        assert!(timer.deadline() <= Instant::now());
        assert_eq!(deadlines.strike(), Strike::TooLate);
    }

    #[tokio::test]
    async fn a_stream_without_deadlines_waits_for_none() {
        let mut deadlines = Deadlines::start(None, None);
        assert!(deadlines.due() > Instant::now() + 365 * 86_400 * SECOND);
        assert_eq!(deadlines.strike(), Strike::Early);
    }
}
