//! How far a long command is: a bar on a terminal, now and then a line elsewhere, every step as JSON for programs.

use serde_json::json;
use std::io::Write;
use std::time::Duration;
use tokio::time::Instant;

/// How often a bar moves, and how often a line is written.
const BAR: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);

/// How wide a bar is.
const WIDTH: u64 = 30;

/// Where progress is shown: standard error, so that standard output is the result alone.
pub(super) struct Progress<'a> {
    out: &'a mut dyn Write,
    style: Style,
    shown: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bar,
    Lines,
    Json,
}

impl<'a> Progress<'a> {
    pub(super) fn new(out: &'a mut dyn Write, style: Style) -> Self {
        Self { out, style, shown: None }
    }

    /// `done` of `of` things are done, and `what` is being worked on. That nobody reads this is no reason to stop.
    pub(super) fn show(&mut self, what: &str, done: u64, of: u64) {
        let every = match self.style {
            Style::Bar => BAR,
            Style::Lines => LINE,
            Style::Json => Duration::ZERO,
        };
        // The first and the last are always shown.
        if done < of && self.shown.is_some_and(|shown| shown.elapsed() < every) {
            return;
        }
        self.shown = Some(Instant::now());
        let of = of.max(done);
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100);
        let _ = match self.style {
            Style::Bar => {
                let full = done.saturating_mul(WIDTH).checked_div(of).unwrap_or(WIDTH);
                let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
                write!(self.out, "\r[{bar}] {percent:3} %  {done} of {of}  {what:<20}").and_then(|()| self.out.flush())
            }
            Style::Lines => writeln!(self.out, "{what}: {done} of {of} ({percent} %)"),
            Style::Json => writeln!(self.out, "{}", json!({ "at": what, "done": done, "of": of })),
        };
    }

    /// Makes room for the result.
    pub(super) fn end(&mut self) {
        if self.style == Style::Bar && self.shown.is_some() {
            let _ = writeln!(self.out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(style: Style, steps: &[(u64, u64)]) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, style);
        steps.iter().for_each(|(done, of)| progress.show("connections", *done, *of));
        progress.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bar_lines_and_json() {
        let steps = [(0, 4), (1, 4), (4, 4)];
        let bar = shown(Style::Bar, &steps);
        assert_eq!(bar.matches('\r').count(), 2, "the first and the last");
        assert!(bar.ends_with("[##############################] 100 %  4 of 4  connections         \n"), "{bar}");
        assert_eq!(shown(Style::Lines, &steps), "connections: 0 of 4 (0 %)\nconnections: 4 of 4 (100 %)\n");
        assert_eq!(shown(Style::Json, &steps).lines().count(), 3);
        assert_eq!(
            shown(Style::Lines, &[(3, 2), (0, 0)]),
            "connections: 3 of 3 (100 %)\nconnections: 0 of 0 (100 %)\n"
        );
    }
}
