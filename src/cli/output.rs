//! Results: lines, or tables for people and JSON for programs.

use super::Failure;
use super::progress::{Progress, Style};
use crate::error::Fault;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::io::{self, Write};

/// Standard output and how listings are written to it.
pub(super) struct Output<'a> {
    out: &'a mut dyn Write,
    pub(super) json: bool,
    /// Whether a person looks at it, who likes colours.
    pub(super) is_terminal: bool,
    /// Where progress is shown, and whether that is a terminal.
    beside: Option<(&'a mut dyn Write, bool)>,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json, is_terminal: false, beside: None }
    }

    /// Shows progress here.
    pub(super) fn with_progress_on(mut self, beside: &'a mut dyn Write, is_terminal: bool) -> Self {
        self.beside = Some((beside, is_terminal));
        self
    }

    /// Whether a person looks at the result.
    pub(super) fn on_terminal(self, is_terminal: bool) -> Self {
        Self { is_terminal, ..self }
    }

    /// The progress of the command, to be shown.
    pub(super) fn progress(&mut self) -> Progress<'_> {
        match (&mut self.beside, self.json) {
            (Some((beside, _)), true) => Progress::new(*beside, Style::Json),
            (Some((beside, true)), false) => Progress::new(*beside, Style::Bar),
            (Some((beside, false)), false) => Progress::new(*beside, Style::Lines),
            (None, _) => Progress::new(self.out, Style::Lines),
        }
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// What was written so far reaches whoever reads it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Records, by these of their fields.
    pub(super) fn records<const N: usize>(
        &mut self,
        fields: [&str; N],
        records: &[impl Serialize],
    ) -> Result<(), Failure> {
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let mut record = serde_json::to_value(record).map_err(Fault::gateway)?;
            rows.push(fields.map(|field| record[field].take()));
        }
        Ok(self.listing(fields, rows)?)
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
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.into_iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(flag) => if flag { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

/// `1 grant`, `2 grants`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
