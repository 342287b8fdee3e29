//! How a gateway ends: what the server decides, and when each open stream has to follow.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where a gateway is on its way to its end. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes connections.
    Serving,
    /// Another process has taken over: no new connections here, every request is the last of its connection, and open
    /// streams go on.
    Retiring,
    /// Open streams end, each at its next boundary, one after the other within `spread` of `from`: callers that come back
    /// all at once would hit whoever takes over.
    Ending {
        /// When the first stream ends.
        from: Instant,
        /// How long after that the last one does.
        spread: Duration,
    },
}

impl Phase {
    /// Everything ends as soon as it can.
    pub fn ending_now() -> Self {
        Phase::Ending { from: Instant::now(), spread: Duration::ZERO }
    }

    /// Whether new connections are taken.
    pub fn is_serving(&self) -> bool {
        matches!(self, Phase::Serving)
    }

    /// Whether open streams have to end.
    pub fn is_ending(&self) -> bool {
        matches!(self, Phase::Ending { .. })
    }
}

/// Hears of the [`Phase`]. One for the whole data plane.
pub(super) struct Stopping {
    phase: watch::Receiver<Phase>,
    streams: AtomicU32,
}

impl Stopping {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase, streams: AtomicU32::new(0) }
    }

    /// Whether connections stay open after their request.
    pub(super) fn keeps_connections(&self) -> bool {
        self.phase.borrow().is_serving()
    }

    /// Waits until idle connections have to close.
    pub(super) fn ending(&self) -> impl Future<Output = ()> + use<> {
        let mut phase = self.phase.clone();
        async move {
            // Without a sender there is no gateway any more.
            let _ = phase.wait_for(Phase::is_ending).await;
        }
    }

    /// For a stream that opens now.
    pub(super) fn stream(&self) -> StreamEnd {
        // Multiples of the golden ratio: however many streams there are, their places are spread evenly over 0..1.
        const GOLDEN_RATIO: u32 = 0x9e37_79b9;
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        let place = f64::from(number.wrapping_mul(GOLDEN_RATIO)) / f64::from(u32::MAX);
        StreamEnd { phase: self.phase.clone(), place }
    }
}

/// When one open stream has to end because the gateway does.
#[derive(Clone)]
pub(super) struct StreamEnd {
    phase: watch::Receiver<Phase>,
    /// Its turn, from 0 to 1.
    place: f64,
}

impl StreamEnd {
    /// Waits until this stream has to end at its next boundary. Can be dropped and called again.
    pub(super) async fn due(&mut self) {
        loop {
            let phase = *self.phase.borrow_and_update();
            let changed = match self.turn(phase) {
                Some(due) => tokio::time::timeout_at(due, self.phase.changed()).await,
                None => Ok(self.phase.changed().await),
            };
            // Its turn has come, or there is no gateway any more.
            if !matches!(changed, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn turn(&self, phase: Phase) -> Option<Instant> {
        match phase {
            Phase::Ending { from, spread } => Some(from + spread.mul_f64(self.place)),
            Phase::Serving | Phase::Retiring => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn however_many_streams_there_are_their_ends_are_spread_evenly() {
        let (_phase, receiver) = watch::channel(Phase::Serving);
        let stopping = Stopping::new(receiver);
        let (from, spread) = (Instant::now(), Duration::from_secs(100));
        let mut decades = [0; 10];
        for _ in 0..100 {
            let stream = stopping.stream();
            assert_eq!((stream.turn(Phase::Serving), stream.turn(Phase::Retiring)), (None, None));
            let turn = stream.turn(Phase::Ending { from, spread }).unwrap() - from;
            assert!(turn <= spread);
            decades[(turn.as_secs() / 10).min(9) as usize] += 1;
        }
        assert!(decades.iter().all(|ended| (8..=12).contains(ended)), "{decades:?}");
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_turn_ends_when_there_is_no_time_left() {
        let (phase, receiver) = watch::channel(Phase::Serving);
        let mut stream = Stopping::new(receiver).stream();
        phase.send_replace(Phase::Retiring);
        assert!(tokio::time::timeout(SOON, stream.due()).await.is_err());
        phase.send_replace(Phase::Ending { from: Instant::now() + Duration::from_secs(3600), spread: Duration::ZERO });
        assert!(tokio::time::timeout(SOON, stream.due()).await.is_err());
        phase.send_replace(Phase::ending_now());
        stream.due().await;
        drop(phase);
        stream.due().await;
    }
}
