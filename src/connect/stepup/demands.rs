//! What an upstream has asked a connection for, and how often a person was asked in turn.

use crate::clock::Timestamp;
use crate::error::Fault;
use crate::oauth::scope::Scopes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So many authorizations that did not help are enough, for one set of scopes. With the one that made the connection
/// that is three: "no more than a few times", as MCP has it.
const MOST_ANSWERS: u32 = 2;
/// After so long without a further answer it may be different.
const MEMORY: Duration = Duration::from_secs(600);
/// A client may come back that much later to run the flow.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How many sets of scopes are told apart.
const MOST: usize = 8;

/// The sets of scopes that were asked for lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Demands(Vec<Demand>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Demand {
    /// Space-separated, sorted.
    scope: String,
    /// Whether the next authorization is to ask for it.
    waiting: bool,
    /// Authorizations that came back with it.
    answers: u32,
    /// When it was asked for, or the last answer came; in seconds since the Unix epoch.
    at: i64,
}

impl Demands {
    /// What was written down, or nothing if that cannot be read.
    pub(super) fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> Result<String, Fault> {
        serde_json::to_string(self).map_err(Fault::gateway)
    }

    /// The upstream asks for these scopes; whether a person may be asked for them.
    pub(super) fn raise(&mut self, asked: &Scopes, now: Timestamp) -> bool {
        self.0.retain(|demand| demand.is_fresh(now));
        let scope = asked.to_string();
        if let Some(demand) = self.0.iter_mut().find(|demand| demand.scope == scope) {
            demand.waiting |= demand.answers < MOST_ANSWERS;
            return demand.waiting;
        }
        let room = self.0.len() < MOST;
        if room {
            self.0.push(Demand { scope, waiting: true, answers: 0, at: now.seconds() });
        }
        room
    }

    /// What the next authorization is to ask for; `None` when nothing waits for it.
    pub(super) fn waiting(&self, now: Timestamp) -> Option<Scopes> {
        let mut waiting = self.0.iter().filter(|demand| demand.waiting && demand.is_fresh(now)).peekable();
        waiting.peek()?;
        Some(Scopes::lenient(waiting.flat_map(|demand| demand.scope.split(' '))))
    }

    /// An authorization came back; what is `settled` waits no longer. Whether anything waited.
    pub(super) fn answer(&mut self, settled: bool, now: Timestamp) -> bool {
        let mut any = false;
        for demand in self.0.iter_mut().filter(|demand| demand.waiting) {
            any = true;
            demand.waiting = !settled && demand.answers + 1 < MOST_ANSWERS;
            demand.answers += 1;
            demand.at = now.seconds();
        }
        any
    }
}

impl Demand {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(Timestamp(self.at)) < if self.waiting { PATIENCE } else { MEMORY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text).unwrap()
    }

    #[test]
    fn a_person_is_asked_twice_and_again_after_a_while() {
        let (mut demands, write) = (Demands::default(), scopes("write"));
        for _ in 0..MOST_ANSWERS {
            assert!(demands.raise(&write, NOW) && demands.raise(&write, NOW));
            assert_eq!(demands.waiting(NOW), Some(write.clone()));
            assert!(demands.answer(true, NOW));
            assert_eq!(demands.waiting(NOW), None);
        }
        assert!(!demands.raise(&write, NOW));
        assert!(!demands.answer(true, NOW), "nothing waits");
        let last = Timestamp(NOW.0 + 599);
        assert!(!demands.raise(&write, last));
        assert!(demands.raise(&write, NOW.after(MEMORY)));
    }

    #[test]
    fn sets_of_scopes_are_told_apart_and_there_are_not_many() {
        let mut demands = Demands::default();
        assert!(demands.raise(&scopes("b a"), NOW));
        assert!(demands.raise(&scopes("c"), NOW));
        assert_eq!(demands.waiting(NOW), Some(scopes("a b c")));
        for number in 2..MOST {
            assert!(demands.raise(&scopes(&format!("x{number}")), NOW));
        }
        assert!(!demands.raise(&scopes("one-too-many"), NOW));
        assert!(demands.raise(&scopes("a b"), NOW), "known");
    }

    #[test]
    fn trouble_at_the_upstream_counts_but_settles_nothing() {
        let mut demands = Demands::default();
        demands.raise(&scopes("a"), NOW);
        assert!(demands.answer(false, NOW));
        assert_eq!(demands.waiting(NOW), Some(scopes("a")));
        assert!(demands.answer(false, NOW));
        assert_eq!(demands.waiting(NOW), None, "often enough");
    }

    #[test]
    fn a_demand_without_scopes_waits_too_and_what_nobody_answers_is_forgotten() {
        let mut demands = Demands::default();
        assert!(demands.raise(&Scopes::default(), NOW));
        let read = Demands::from_json(&demands.to_json().unwrap());
        assert_eq!(read.waiting(NOW), Some(Scopes::default()));
        assert_eq!(read.waiting(NOW.after(PATIENCE)), None);
        assert_eq!(Demands::from_json("nonsense"), Demands::default());
    }
}
