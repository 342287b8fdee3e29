//! The circuit breaker of one upstream: closed, open for a while, probing.

use super::{Failure, Stage, State};
use crate::clock::Timestamp;
use std::time::Duration;

/// So many failures without a success between them open the circuit.
pub(super) const THRESHOLD: u32 = 5;
/// How long the circuit is open the first time; twice as long every next time, up to [`LONGEST`].
const SHORTEST: u64 = 2;
/// The longest that it is open, in seconds.
pub(super) const LONGEST: u64 = 15;
/// A probe that takes longer does not keep the next one waiting.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// What has gone wrong since the last success.
#[derive(Default)]
pub(super) struct Circuit {
    consecutive: u32,
    /// How often it was opened in a row.
    opened: u32,
    phase: Phase,
    last: Option<Box<(Timestamp, Failure)>>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Timestamp,
    },
    Probing {
        since: Timestamp,
    },
}

/// Whether a request may be sent.
pub(super) enum Admission {
    Granted,
    /// It may, and nobody else until something is known about it.
    Probe,
    Denied {
        retry_after: Duration,
        timeout: bool,
    },
}

impl Circuit {
    pub(super) fn admit(&mut self, now: Timestamp) -> Admission {
        let wait = match self.phase {
            Phase::Closed => return Admission::Granted,
            Phase::Open { until } => until.since(now),
            Phase::Probing { since } if now.since(since) >= PROBE_PATIENCE => Duration::ZERO,
            Phase::Probing { .. } => Duration::from_secs(1),
        };
        // A clock that was set back must not keep the circuit open.
        if wait.is_zero() || wait > Duration::from_secs(LONGEST) {
            self.phase = Phase::Probing { since: now };
            return Admission::Probe;
        }
        let timeout = self.last.as_ref().is_some_and(|last| last.1.timeout);
        Admission::Denied { retry_after: wait, timeout }
    }

    /// How long the circuit is open from now on, when this failure opened it. `jitter` makes the pause up to half as long
    /// again: callers of many gateways must not come back at once.
    pub(super) fn failed(&mut self, failure: &Failure, now: Timestamp, jitter: u8) -> Option<Duration> {
        self.consecutive = self.consecutive.saturating_add(1);
        self.last = Some(Box::new((now, failure.clone())));
        let opens = match self.phase {
            Phase::Closed => self.consecutive >= THRESHOLD,
            // Requests that were on their way when it was opened.
            Phase::Open { until } => until <= now,
            Phase::Probing { .. } => true,
        };
        if !opens {
            return None;
        }
        let pause = (SHORTEST << self.opened.min(3)).min(LONGEST);
        let pause = (pause + u64::from(jitter) * pause / 512).min(LONGEST);
        self.opened = self.opened.saturating_add(1);
        let pause = Duration::from_secs(pause);
        self.phase = Phase::Open { until: now.after(pause) };
        Some(pause)
    }

    /// Nothing came of the probe, neither an answer nor a failure: its caller left. The next request is the next probe.
    pub(super) fn probe_lost(&mut self) {
        if matches!(self.phase, Phase::Probing { .. }) {
            self.phase = Phase::Open { until: Timestamp(i64::MIN) };
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::Probing { .. } => State::Probing,
        }
    }

    pub(super) fn consecutive(&self) -> u32 {
        self.consecutive
    }

    pub(super) fn last(&self) -> Option<(Timestamp, &Failure)> {
        self.last.as_ref().map(|last| (last.0, &last.1))
    }

    /// Whether the last failure was of this kind.
    pub(super) fn failed_while(&self, stage: Stage) -> bool {
        self.last.as_ref().is_some_and(|last| last.1.stage == stage)
    }
}
