//! What came of the traffic: what was right, what an injected fault explains, and what nothing does.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Examples that are kept of what nothing explains.
const EXAMPLES: usize = 30;

/// How one thing that somebody did ended.
pub enum Outcome {
    /// As it should.
    Fine,
    /// Not well, as a fault of ours explains.
    Injected(String),
    /// Wrong.
    Wrong(String),
}

/// Counts, shared by all who make traffic.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    fine: BTreeMap<&'static str, u64>,
    injected: BTreeMap<(&'static str, String), u64>,
    wrong: BTreeMap<&'static str, u64>,
    examples: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn note(&self, what: &'static str, outcome: Outcome) {
        let mut counts = self.0.lock();
        match outcome {
            Outcome::Fine => *counts.fine.entry(what).or_default() += 1,
            Outcome::Injected(how) => *counts.injected.entry((what, how)).or_default() += 1,
            Outcome::Wrong(why) => {
                *counts.wrong.entry(what).or_default() += 1;
                if counts.examples.len() < EXAMPLES {
                    counts.examples.push(format!("{what}: {why}"));
                }
            }
        }
    }

    /// A fault was injected.
    pub fn fault(&self, what: &'static str) {
        *self.0.lock().faults.entry(what).or_default() += 1;
    }

    /// How many things went wrong without a reason: the budget is 0.
    pub fn wrong(&self) -> u64 {
        self.0.lock().wrong.values().sum()
    }

    pub fn fine(&self, what: &str) -> u64 {
        self.0.lock().fine.get(what).copied().unwrap_or_default()
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock();
        writeln!(f, "| traffic | right | explained by a fault | unexplained (budget: 0) |\n|---|---|---|---|")?;
        let mut names: Vec<_> = counts.fine.keys().chain(counts.wrong.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let injected = counts.injected.iter().filter(|((what, _), _)| what == name);
            let injected: Vec<_> = injected.map(|((_, how), count)| format!("{count} {how}")).collect();
            let number = |map: &BTreeMap<&str, u64>| map.get(name).copied().unwrap_or_default();
            writeln!(f, "| {name} | {} | {} | {} |", number(&counts.fine), injected.join(", "), number(&counts.wrong))?;
        }
        let faults: Vec<_> = counts.faults.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        writeln!(f, "\nfaults: {}", faults.join(", "))?;
        counts.examples.iter().try_for_each(|example| writeln!(f, "unexplained: {example}"))
    }
}
