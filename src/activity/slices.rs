//! Which rows one thing that happened counts in: for each length of a step, everything, the upstream, the client, the person, the
//! tool, and the combinations that are asked for. How many rows a step gets is bounded.

use super::Range;
use crate::clock::Timestamp;
use crate::store::{ActivityCounts, ActivityKey, ActivitySlice};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Whole days: those who had the largest part in a month are found in them.
pub(super) const DAY: i64 = 24 * 3600;

/// How many different tools of an upstream a step has rows of: their names are whatever callers say.
const TOOLS: usize = 100;
/// How many different upstreams and clients a step has rows of, and how many people.
const NAMES: usize = 2000;
/// The longest name of a tool, in bytes: MCP recommends 128 at most.
const LONGEST: usize = 128;

/// Whatever is too much goes by this name.
pub(super) const OTHER: &str = "(other)";

/// Rows that are to be added to those in the database.
#[derive(Default)]
pub(super) struct Rows {
    rows: HashMap<ActivityKey, ActivityCounts>,
    /// The names that steps of late have rows of.
    known: BTreeMap<(Timestamp, i64), Known>,
}

/// The names that a step has rows of.
#[derive(Default)]
struct Known {
    tools: HashMap<String, HashSet<String>>,
    upstreams: HashSet<String>,
    clients: HashSet<String>,
    people: HashSet<String>,
}

/// How long steps are, in seconds.
fn resolutions() -> impl Iterator<Item = i64> {
    Range::ALL.into_iter().map(Range::resolution).chain([DAY])
}

/// When the step begins that a moment is in.
pub(super) fn step_of(at: Timestamp, resolution: i64) -> Timestamp {
    Timestamp(at.0.div_euclid(resolution) * resolution)
}

impl Rows {
    /// Counts in all rows that it belongs to. `names`: person, upstream, client, tool; empty where there is none.
    pub(super) fn count(&mut self, at: Timestamp, names: [&str; 4], counts: &ActivityCounts) {
        for resolution in resolutions() {
            let step = step_of(at, resolution);
            let known = self.known.entry((step, resolution)).or_default();
            let names = known.bounded(names);
            for slice in slices(names) {
                let key = ActivityKey { resolution, step, slice };
                self.rows.entry(key).or_default().add(counts);
            }
        }
    }

    /// Counts in the row of one slice, for every length of a step; the name has been counted before, or is one of few.
    pub(super) fn count_slice(&mut self, at: Timestamp, slice: &ActivitySlice, counts: &ActivityCounts) {
        for resolution in resolutions() {
            let key = ActivityKey { resolution, step: step_of(at, resolution), slice: slice.clone() };
            self.rows.entry(key).or_default().add(counts);
        }
    }

    /// All rows, in the order in which they are written. Names of steps that are over by `now` are forgotten.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<(ActivityKey, ActivityCounts)> {
        self.known.retain(|(step, resolution), _| step.0 + 2 * resolution > now.0);
        let mut rows: Vec<_> = self.rows.drain().collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        rows
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&mut self, rows: impl IntoIterator<Item = (ActivityKey, ActivityCounts)>) {
        for (key, counts) in rows {
            self.rows.entry(key).or_default().add(&counts);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }
}

impl Known {
    fn bounded<'n>(&mut self, [person, upstream, client, tool]: [&'n str; 4]) -> [&'n str; 4] {
        let person = one_of(&mut self.people, NAMES, person);
        let upstream = one_of(&mut self.upstreams, NAMES, upstream);
        let client = one_of(&mut self.clients, NAMES, client);
        let tool = &tool[..tool.floor_char_boundary(LONGEST)];
        let tool = match (upstream.is_empty() || tool.is_empty(), self.tools.get_mut(upstream)) {
            (true, _) => "",
            (false, Some(tools)) => one_of(tools, TOOLS, tool),
            (false, None) => {
                self.tools.insert(upstream.to_owned(), HashSet::from([tool.to_owned()]));
                tool
            }
        };
        [person, upstream, client, tool]
    }
}

fn one_of<'n>(known: &mut HashSet<String>, room: usize, name: &'n str) -> &'n str {
    if name.is_empty() || known.contains(name) {
        return name;
    }
    if known.len() >= room {
        return OTHER;
    }
    known.insert(name.to_owned());
    name
}

/// The rows of one request, each once.
fn slices([person, upstream, client, tool]: [&str; 4]) -> impl Iterator<Item = ActivitySlice> {
    let slice = |person: &str, upstream: &str, client: &str, tool: &str| ActivitySlice {
        person: person.to_owned(),
        upstream: upstream.to_owned(),
        client: client.to_owned(),
        tool: tool.to_owned(),
    };
    let (has_upstream, has_client, has_tool) = (!upstream.is_empty(), !client.is_empty(), !tool.is_empty());
    let everything = [Some(slice("", "", "", "")), Some(slice(person, "", "", ""))];
    let of_upstream =
        [slice("", upstream, "", ""), slice(person, upstream, "", "")].map(|slice| has_upstream.then_some(slice));
    let of_client = [slice("", "", client, ""), slice(person, "", client, "")].map(|slice| has_client.then_some(slice));
    let of_tool =
        [slice("", upstream, "", tool), slice(person, upstream, "", tool)].map(|slice| has_tool.then_some(slice));
    everything.into_iter().chain(of_upstream).chain(of_client).chain(of_tool).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> ActivityCounts {
        ActivityCounts { requests: 1, ..ActivityCounts::default() }
    }

    fn keys(rows: &mut Rows, resolution: i64) -> Vec<[String; 4]> {
        let rows = rows.take(Timestamp(0)).into_iter();
        let rows = rows.filter(|(key, _)| key.resolution == resolution);
        rows.map(|(ActivityKey { slice, .. }, _)| [slice.person, slice.upstream, slice.client, slice.tool]).collect()
    }

    #[test]
    fn a_call_counts_in_every_row_that_somebody_asks_for() {
        let mut rows = Rows::default();
        rows.count(Timestamp(1_000_000), ["ann", "mcp.example", "claude", "get"], &one());
        let expected = [
            ["", "", "", ""],
            ["", "", "claude", ""],
            ["", "mcp.example", "", ""],
            ["", "mcp.example", "", "get"],
            ["ann", "", "", ""],
            ["ann", "", "claude", ""],
            ["ann", "mcp.example", "", ""],
            ["ann", "mcp.example", "", "get"],
        ];
        assert_eq!(keys(&mut rows, 60), expected);
        rows.count(Timestamp(1_000_000), ["ann", "", "claude", "get"], &one());
        assert_eq!(keys(&mut rows, 21_600).len(), 4, "a tool is nothing without its upstream");
    }

    #[test]
    fn steps_begin_where_the_clock_says() {
        let midnight = Timestamp(1_700_006_400);
        for (at, minute, quarter, six_hours) in [
            (midnight.0 - 1, midnight.0 - 60, midnight.0 - 900, midnight.0 - 21_600),
            (midnight.0, midnight.0, midnight.0, midnight.0),
            (midnight.0 + 899, midnight.0 + 840, midnight.0, midnight.0),
        ] {
            let steps = [60, 900, 21_600].map(|resolution| step_of(Timestamp(at), resolution).0);
            assert_eq!(steps, [minute, quarter, six_hours]);
        }
    }

    #[test]
    fn who_invents_names_gets_few_rows() {
        let mut rows = Rows::default();
        for number in 0..10 * TOOLS {
            let tool = format!("tool-{number}");
            rows.count(Timestamp(0), ["ann", "mcp.example", "claude", &tool], &one());
        }
        let keys = keys(&mut rows, 60);
        assert_eq!(keys.iter().filter(|key| key[0].is_empty() && !key[3].is_empty()).count(), TOOLS + 1);
        assert!(keys.contains(&["", "mcp.example", "", OTHER].map(str::to_owned)));
        // The next step has room again.
        rows.count(Timestamp(60), ["ann", "mcp.example", "claude", "late"], &one());
        let late = rows.take(Timestamp(60));
        assert!(late.iter().any(|(key, _)| key.resolution == 60 && key.slice.tool == "late"));
        assert!(late.iter().all(|(key, _)| key.resolution == 60 || key.slice.tool != "late"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let mut rows = Rows::default();
        rows.count(Timestamp(0), ["ann", "mcp.example", "claude", &"ü".repeat(100)], &one());
        let keys = keys(&mut rows, 60);
        assert!(keys.iter().any(|key| key[3] == "ü".repeat(LONGEST / 2)));
    }
}
