//! What was measured: one row for each target, case and round, kept as JSON lines.

use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;

pub const RATE: &str = "per second";
pub const P50: &str = "p50 µs";
pub const P99: &str = "p99 µs";
/// CPU seconds of the proxy for 100,000 requests, events or messages: one is 10 µs each.
pub const CPU: &str = "CPU s per 100,000";
/// Of the proxy with all of its processes, as PSS.
pub const MEMORY: &str = "memory MiB";

/// Names and values of one measurement.
pub type Values = Vec<(&'static str, f64)>;

pub struct Row {
    pub scenario: &'static str,
    pub case: String,
    pub target: String,
    pub round: usize,
    pub outcome: Result<Values, String>,
}

impl Row {
    pub fn value(&self, name: &str) -> Option<f64> {
        self.outcome.as_ref().ok()?.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn json(&self) -> Value {
        let mut members = Map::new();
        members.insert("scenario".to_owned(), json!(self.scenario));
        members.insert("case".to_owned(), json!(self.case));
        members.insert("target".to_owned(), json!(self.target));
        members.insert("round".to_owned(), json!(self.round));
        match &self.outcome {
            Ok(values) => members.extend(values.iter().map(|(name, value)| ((*name).to_owned(), json!(value)))),
            Err(error) => drop(members.insert("error".to_owned(), json!(error))),
        }
        Value::Object(members)
    }
}

/// All rows so far.
pub struct Rows {
    pub all: Vec<Row>,
    file: File,
}

impl Rows {
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { all: Vec::new(), file })
    }

    /// Every row is in the file at once: what was measured survives whatever comes next.
    pub fn push(&mut self, row: Row) {
        if let Err(error) = writeln!(self.file, "{}", row.json()) {
            eprintln!("rows: {error}");
        }
        self.all.push(row);
    }

    pub fn of<'a>(&'a self, scenario: &'a str, case: &'a str, target: &'a str) -> impl Iterator<Item = &'a Row> {
        self.all.iter().filter(move |row| row.scenario == scenario && row.case == case && row.target == target)
    }

    /// The median of a value over all rounds.
    pub fn median(&self, scenario: &str, case: &str, target: &str, value: &str) -> Option<f64> {
        median(self.of(scenario, case, target).filter_map(|row| row.value(value)).collect())
    }

    /// The median of what a function makes of two targets' values in the same round: what disturbs a round disturbs both.
    pub fn paired(
        &self,
        (scenario, case, value): (&str, &str, &str),
        (one, other): (&str, &str),
        with: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let pairs = self.of(scenario, case, one).filter_map(|row| {
            let mut others = self.of(scenario, case, other).filter(|against| against.round == row.round);
            Some(with(row.value(value)?, others.next()?.value(value)?))
        });
        median(pairs.collect())
    }

    /// What is written of two targets as a ratio.
    pub fn ratio(&self, of: (&str, &str, &str), one: &str, other: &str) -> Option<f64> {
        self.paired(of, (one, other), |one, other| one / other)
    }

    /// Scenarios in the order in which they ran.
    pub fn scenarios(&self) -> Vec<&'static str> {
        distinct(self.all.iter().map(|row| row.scenario))
    }
}

/// The values in the order of their first appearance.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut seen, value| {
        if !seen.contains(&value) {
            seen.push(value);
        }
        seen
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[count / 2]),
        count => Some(f64::midpoint(values[count / 2 - 1], values[count / 2])),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CPU, Row, Rows};

    #[test]
    fn ratios_are_taken_within_a_round() {
        let path = std::env::temp_dir().join(format!("rows-{}.jsonl", std::process::id()));
        let mut rows = Rows::create(&path).unwrap();
        for (round, (ours, theirs)) in [(2.0, 1.0), (30.0, 10.0), (8.0, 2.0)].into_iter().enumerate() {
            for (target, value) in [("a", ours), ("b", theirs)] {
                let (case, target) = (String::new(), target.to_owned());
                rows.push(Row { scenario: "hot", case, target, round, outcome: Ok(vec![(CPU, value)]) });
            }
        }
        let failed =
            Row { scenario: "hot", case: String::new(), target: "a".into(), round: 3, outcome: Err("no".into()) };
        rows.push(failed);
        assert_eq!(rows.ratio(("hot", "", CPU), "a", "b"), Some(3.0));
        assert_eq!(rows.median("hot", "", "a", CPU), Some(8.0));
        assert_eq!(rows.ratio(("hot", "", CPU), "a", "c"), None);
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().count(), 7);
        assert!(written.contains(r#""error":"no""#), "{written}");
        std::fs::remove_file(path).unwrap();
    }
}
