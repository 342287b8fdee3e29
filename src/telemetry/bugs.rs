//! What is told of a bug that ends a task or a thread.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::Write;
use std::panic::{Location, PanicHookInfo, set_hook};

/// From now on a panic of this process is told by its place, in the log if there is one and on standard error otherwise, and by the
/// way there when `RUST_BACKTRACE` asks for it. What it says is told only when it is a literal: the standard library quotes what was
/// being read when it fails, up to 256 bytes of it, and that may be a token.
pub fn tell_places_only() {
    set_hook(Box::new(|panic| {
        let bug = Bug::of(panic);
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{bug}");
        } else {
            // There is nobody left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "error: {bug}");
        }
    }));
}

/// In words, for whoever may report it.
struct Bug<'a> {
    place: Option<&'a Location<'a>>,
    literal: Option<&'static str>,
    way: Backtrace,
}

impl<'a> Bug<'a> {
    fn of(panic: &'a PanicHookInfo<'_>) -> Self {
        let literal = panic.payload().downcast_ref::<&'static str>().copied();
        Self { place: panic.location(), literal, way: Backtrace::capture() }
    }
}

impl fmt::Display for Bug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bug in Portcullis {}", env!("CARGO_PKG_VERSION"))?;
        if let Some(place) = self.place {
            write!(f, " at {place}")?;
        }
        if let Some(literal) = self.literal {
            write!(f, " ({literal})")?;
        }
        f.write_str(": please report it with this line")?;
        match self.way.status() {
            BacktraceStatus::Captured => write!(f, "\n{}", self.way),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Log;
    use std::process::{Command, Output, Stdio};

    /// What a process of its own shall do.
    const ORDERS: &str = "PORTCULLIS_TEST_BUG";
    const SECRET: &str = "canary-§-of-a-token";

    /// What one process does: it has two bugs, in tasks, and goes on.
    #[test]
    #[ignore = "only as the child of other tests"]
    fn child() {
        #[allow(clippy::disallowed_methods)]
        let Ok(orders) = std::env::var(ORDERS) else { return };
        let _log = (orders != "no log").then(|| Log::start(orders == "json", "info", 0));
        tell_places_only();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            // In the middle of a character: the standard library's message has the whole text in it.
            let cut = tokio::spawn(async { SECRET[..SECRET.find('§').unwrap() + 1].len() });
            assert!(cut.await.unwrap_err().is_panic());
            let nothing: Option<u8> = SECRET.bytes().find(|byte| *byte == 0);
            assert!(tokio::spawn(async move { nothing.unwrap() }).await.unwrap_err().is_panic());
        });
        println!("it goes on");
    }

    fn process(orders: &str, backtrace: bool) -> (Output, String) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::bugs::tests::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ORDERS, orders)
            .env("RUST_BACKTRACE", if backtrace { "1" } else { "0" })
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(String::from_utf8_lossy(&output.stdout).contains("it goes on"), "{output:?}");
        assert!(!said.contains("canary") && !said.contains("of-a-token"), "{said}");
        (output, said)
    }

    #[test]
    fn a_bug_tells_its_place_and_nothing_that_was_being_read() {
        let (output, said) = process("text", false);
        assert!(output.status.success(), "{said}");
        let lines: Vec<_> = said.lines().filter(|line| line.contains("a bug in Portcullis")).collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines.iter().all(|line| line.contains("ERROR") && line.contains("src/telemetry/bugs.rs:")), "{said}");
        assert!(lines[1].contains("`Option::unwrap()` on a `None` value"), "{said}");
    }

    #[test]
    fn a_bug_is_a_line_of_the_log_and_without_one_of_standard_error() {
        let (_, said) = process("json", false);
        let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line["level"] == "ERROR"), "{said}");
        let (_, said) = process("no log", false);
        assert!(said.lines().count() == 2 && said.lines().all(|line| line.starts_with("error: a bug in Portcullis ")));
    }

    #[test]
    fn the_way_to_a_bug_is_told_to_whoever_asks() {
        let (_, said) = process("text", true);
        assert!(said.contains("telemetry::bugs::tests::child"), "{said}");
    }
}
