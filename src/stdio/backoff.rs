//! When a program that ended may be started again.

use super::{Ending, Pace};
use std::time::Duration;
use tokio::time::Instant;

/// What is remembered of a program that ended by itself.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<(Instant, Ending)>,
}

impl Backoff {
    /// It ended by itself, or was ended for what it did, after so long a life. One that was in good health begins anew.
    pub(super) fn failed(&mut self, life: Duration, ending: Ending, pace: &Pace) {
        self.failures = if life >= pace.healthy { 1 } else { self.failures.saturating_add(1) };
        let pause = pace.pause * 2_u32.saturating_pow(self.failures - 1).min(1 << 16);
        self.last = Some((Instant::now() + pause.min(pace.longest_pause), ending));
    }

    /// How long to wait, and why; `None`: it may be started.
    pub(super) fn waiting(&self) -> Option<(Duration, &Ending)> {
        let (until, ending) = self.last.as_ref()?;
        let wait = until.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some((wait, ending))
    }

    /// Whether nothing of it matters any longer.
    pub(super) fn is_over(&self, pace: &Pace) -> bool {
        self.last.as_ref().is_none_or(|(until, _)| until.elapsed() > pace.healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_minute_and_begin_anew_after_a_minute_of_health() {
        let (pace, ending) = (Pace::default(), Ending::new("it exited with status 1", ""));
        let mut backoff = Backoff::default();
        assert!(backoff.waiting().is_none() && backoff.is_over(&pace));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(Duration::from_secs(1), ending.clone(), &pace);
            assert_eq!(backoff.waiting().unwrap().0, Duration::from_secs(seconds));
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(backoff.waiting().is_none() && !backoff.is_over(&pace));
        backoff.failed(Duration::from_secs(60), ending, &pace);
        assert_eq!(backoff.waiting().unwrap().0, Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(62)).await;
        assert!(backoff.is_over(&pace));
    }
}
