//! The budgets: a table that people read, and what is said when it is exceeded.

use super::Count;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};
use toml_edit::{DocumentMut, Item};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budgets.toml");

/// What a budget leaves above what was measured, in per cent: another compiler's code differs by less.
const MARGIN: u64 = 10;
/// What it leaves where something beside the case goes by the clock, in per cent and in allocations: no block is quite like another.
const MARGIN_OF_WHOLE: u64 = 20;
const ALLOCATIONS_OF_WHOLE: u64 = 10;
/// The cases of which that is true.
const WHOLE: [&str; 2] = ["request", "event"];
/// A budget that leaves more than this is stale, in per cent.
const SLACK: u64 = 30;

const PREFACE: &str = "\
# How many instructions and allocations a step of the hot path may take: what `make guard` measured in the profile that tests
# are built with, plus 10 % and, where there are allocations, one; of a whole request and an event 20 % and ten allocations,
# because something beside them goes by the clock. A change that needs more says why in its commit and runs
# `make guard UPDATE=1`; so does one that needs less, so that nobody loses it again.
";

/// Prints what was counted beside what is allowed; fails when any of it is too much.
pub(super) fn compare(counts: &[Count]) -> ExitCode {
    let budgets = match Budgets::read() {
        Ok(budgets) => budgets,
        Err(why) => {
            println!("{FILE}: {why}; `make guard UPDATE=1` writes it");
            return ExitCode::FAILURE;
        }
    };
    let is_comparable = budgets.is_comparable();
    println!("{:<20} {:>14} {:>14} {:>6} {:>12} {:>8}", "case", "instructions", "budget", "", "allocations", "budget");
    let mut excesses = Vec::new();
    for count in counts {
        match budgets.of(&count.name) {
            Some(budget) => excesses.extend(budget.compare(count, is_comparable)),
            None => excesses.push(format!("{:?} has no budget", count.name)),
        }
    }
    if excesses.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nThe hot path takes more than it may:");
    excesses.iter().for_each(|excess| println!("  {excess}"));
    println!(
        "If it is worth that, `make guard UPDATE=1` raises the budgets in benches/budgets.toml: say why in the commit."
    );
    ExitCode::FAILURE
}

/// Writes what was counted as the budgets of from now on.
pub(super) fn write(counts: &[Count]) {
    let mut text = PREFACE.to_owned();
    let _ = write!(text, "\n[measured-with]\ncompiler = {:?}\nmachine = {:?}\n", compiler(), std::env::consts::ARCH);
    for Count { name, instructions, allocations, .. } in counts {
        let (margin, more) = match WHOLE.contains(&name.as_str()) {
            true => (MARGIN_OF_WHOLE, ALLOCATIONS_OF_WHOLE),
            // What allocates nothing must not begin to.
            false => (MARGIN, (*allocations).min(1)),
        };
        let (instructions, allocations) = (instructions + instructions * margin / 100, allocations + more);
        let _ = write!(text, "\n[{name:?}]\ninstructions = {instructions}\nallocations = {allocations}\n");
    }
    fs::write(FILE, text).unwrap();
    report(counts);
    println!("\nwritten to {FILE}, with {MARGIN} to {MARGIN_OF_WHOLE} % more");
}

/// Prints what was counted.
pub(super) fn report(counts: &[Count]) {
    println!("{:<20} {:>14} {:>12}  what callgrind_annotate shows", "case", "instructions", "allocations");
    for Count { name, instructions, allocations, file } in counts {
        println!("{name:<20} {instructions:>14} {allocations:>12}  {}", file.display());
    }
}

/// What each case may take.
struct Budgets(DocumentMut);

impl Budgets {
    fn read() -> Result<Self, String> {
        let text = fs::read_to_string(FILE).map_err(|error| error.to_string())?;
        text.parse().map(Self).map_err(|error: toml_edit::TomlError| error.to_string())
    }

    /// Whether instructions mean the same here; says so where they do not, or may not.
    fn is_comparable(&self) -> bool {
        let recorded = |key| self.0.get("measured-with").and_then(|with| with.get(key)?.as_str()).unwrap_or_default();
        let (compiler, machine) = (compiler(), std::env::consts::ARCH);
        if recorded("compiler") != compiler {
            println!("The budgets are from {}, this is {compiler}: counts may differ a little.", recorded("compiler"));
        }
        if recorded("machine") != machine {
            println!("The budgets are from {}, this is {machine}: only allocations count.", recorded("machine"));
        }
        recorded("machine") == machine
    }

    fn of(&self, case: &str) -> Option<Budget> {
        let table = self.0.get(case)?;
        let number = |key: &str| table.get(key).and_then(Item::as_integer).and_then(|value| u64::try_from(value).ok());
        Some(Budget { instructions: number("instructions")?, allocations: number("allocations")? })
    }
}

struct Budget {
    instructions: u64,
    allocations: u64,
}

impl Budget {
    /// Prints a line, and returns what is to be said about it at the end.
    fn compare(&self, count: &Count, is_comparable: bool) -> Vec<String> {
        let Count { name, instructions, allocations, file } = count;
        let per_cent = |part: u64| part * 100 / self.instructions.max(1);
        println!(
            "{name:<20} {instructions:>14} {:>14} {:>5}% {allocations:>12} {:>8}",
            self.instructions,
            per_cent(*instructions),
            self.allocations
        );
        if is_comparable && per_cent(*instructions) + SLACK < 100 {
            println!("    well below its budget: `make guard UPDATE=1` keeps it there");
        }
        let mut excesses = Vec::new();
        let over = instructions.saturating_sub(self.instructions);
        if is_comparable && over > 0 {
            let text = format!("{name:?} takes {over} instructions more than its budget ({} %)", per_cent(over));
            excesses.push(format!("{text}: callgrind_annotate --inclusive=yes {}", file.display()));
        }
        let over = allocations.saturating_sub(self.allocations);
        if over > 0 {
            excesses.push(format!("{name:?} allocates {over} times more than its budget: {}", file.display()));
        }
        excesses
    }
}

/// As it names itself, without its commit.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split(" (").next().unwrap_or_default().trim().to_owned()
}
