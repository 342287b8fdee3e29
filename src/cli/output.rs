//! Results: lines, or tables for people and JSON for programs.

use crate::clock::Timestamp;
use serde_json::{Map, Value};
use std::fmt;
use std::io::{self, Write};

/// Standard output and how listings are written to it.
pub(super) struct Output<'a> {
    out: &'a mut dyn Write,
    pub(super) json: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json }
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// A list of rows: columns as wide as their content, or a JSON list of objects with the columns' names as keys.
    pub(super) fn listing<const N: usize>(&mut self, columns: [&str; N], rows: Vec<[Value; N]>) -> io::Result<()> {
        if self.json {
            let object = |row: [Value; N]| {
                Value::Object(columns.iter().map(|name| (*name).to_owned()).zip(row).collect::<Map<_, _>>())
            };
            return writeln!(self.out, "{}", Value::Array(rows.into_iter().map(object).collect()));
        }
        let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(text)).collect();
        let heading = columns.map(|name| name.to_uppercase().replace('_', " "));
        let mut widths = heading.each_ref().map(|cell| cell.chars().count());
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in std::iter::once(&heading).chain(&rows) {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A cell for people. Control characters are shown, not sent: some texts here were chosen by strangers.
fn text(value: Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) if text.chars().any(char::is_control) => text.escape_debug().to_string(),
        Value::String(text) => text,
        Value::Array(texts) if texts.is_empty() => "-".to_owned(),
        Value::Array(texts) => texts.into_iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(flag) => if flag { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn date(at: Timestamp) -> String {
    let (days, seconds) = (at.seconds().div_euclid(86_400), at.seconds().rem_euclid(86_400));
    // Howard Hinnant's civil_from_days: years begin in March, so that the leap day is the last.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// [`date`] for a column that may be empty.
pub(super) fn maybe_date(at: Option<Timestamp>) -> Value {
    at.map(date).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(Timestamp(seconds)), text);
        }
    }

    #[test]
    fn listings_for_people_and_for_programs() {
        let rows = || vec![[json!("alice"), json!(true)], [json!("b\u{1b}[2J"), Value::Null]];
        let mut plain = Vec::new();
        Output::new(&mut plain, false).listing(["name", "may_log_in"], rows()).unwrap();
        assert_eq!(String::from_utf8(plain).unwrap(), "NAME        MAY LOG IN\nalice       yes\nb\\u{1b}[2J  -\n");
        let mut json = Vec::new();
        Output::new(&mut json, true).listing(["name", "may_log_in"], rows()[..1].to_vec()).unwrap();
        assert_eq!(json, b"[{\"name\":\"alice\",\"may_log_in\":true}]\n");
    }
}
