//! Holds the hot path to its budgets: how many instructions and allocations each step of a request takes, counted by
//! callgrind. Counts are the same on a busy machine and on an idle one, so that CI can fail by them; it never fails by
//! a time.
//!
//! `make guard` compares with `benches/budgets.toml`, `make guard UPDATE=1` writes that file, and
//! `make instructions PROFILE=profiling` shows the figures of an optimised build. The program calls itself under
//! valgrind: there it runs the cases and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark prints, and says when it fails

mod budgets;
mod callgrind;
mod cases;
#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The argument of the run under valgrind.
const INSIDE: &str = "--inside";

/// One case, for one time.
struct Count {
    name: String,
    instructions: u64,
    allocations: u64,
    /// What callgrind has written of it.
    file: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    if has(INSIDE) {
        cases::run(only);
        return ExitCode::SUCCESS;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guard");
    let counts = match callgrind::count(&directory, only) {
        Ok(counts) => counts,
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if has("--update") {
        budgets::write(&counts);
        return ExitCode::SUCCESS;
    }
    if has("--report") {
        budgets::report(&counts);
        return ExitCode::SUCCESS;
    }
    budgets::compare(&counts)
}
