//! Runs this program under callgrind and reads what it has counted.

use super::{Count, INSIDE};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What allocates, as the C library calls it.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Counts every case, or the one of this name: of several blocks the cheapest, in instructions and in allocations. What callgrind writes stays in `directory`.
///
/// # Errors
/// Text for whoever started it: valgrind is missing, or the cases failed.
pub(super) fn count(directory: &Path, only: Option<&str>) -> Result<Vec<Count>, String> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let output = run(directory, only)?;
    let mut counts: Vec<Count> = Vec::new();
    for (index, line) in String::from_utf8_lossy(&output.stdout).lines().enumerate() {
        let block = block(directory.join(format!("counts.{}", index + 1)), line)?;
        match counts.iter_mut().find(|count| count.name == block.name) {
            Some(count) => {
                let allocations = count.allocations.min(block.allocations);
                if block.instructions < count.instructions {
                    *count = block;
                }
                count.allocations = allocations;
            }
            None => counts.push(block),
        }
    }
    Ok(counts)
}

/// One block of a case, of which `line` tells.
fn block(file: PathBuf, line: &str) -> Result<Count, String> {
    let (times, name) = line.split_once(' ').ok_or_else(|| format!("{line:?} says no case"))?;
    let times: u64 = times.parse().map_err(|_| format!("{line:?} says no number of times"))?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (instructions, allocations) = read(&text);
    let each = |total: u64| (total + times / 2) / times;
    Ok(Count { name: name.to_owned(), instructions: each(instructions), allocations: each(allocations), file })
}

fn run(directory: &Path, only: Option<&str>) -> Result<Output, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--collect-atstart=no", "--combine-dumps=no"])
        .args(["--dump-instr=yes", "--compress-pos=no"])
        .args(["--toggle-collect=*callgrind_counts*", "--toggle-collect=*callgrind_pauses*"])
        .arg("--dump-after=*callgrind_writes*")
        .arg(format!("--callgrind-out-file={}", directory.join("counts").display()))
        .arg(program)
        .arg(INSIDE)
        .args(only.map(|name| format!("--only={name}")));
    let output =
        command.output().map_err(|error| format!("valgrind cannot be run ({error}): make deps installs it"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("the cases failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// Reads the format of callgrind's manual, "Callgrind Format Specification": the sum of all costs, and how often the functions
/// that allocate were entered. Callgrind counts calls also where it is told not to count, but no instructions: so the
/// first instruction of a function tells.
fn read(text: &str) -> (u64, u64) {
    let mut total = 0;
    let mut allocators: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    let (mut function, mut is_callee) = ("", false);
    for line in text.lines() {
        if let Some(sum) = line.strip_prefix("totals: ") {
            total = sum.trim().parse().unwrap_or_default();
        } else if let Some(name) = line.strip_prefix("cfn=") {
            learn(name, &mut allocators);
        } else if let Some(name) = line.strip_prefix("fn=") {
            learn(name, &mut allocators);
            function = id(name);
        } else if line.starts_with("calls=") {
            // What follows is what the callee took.
            is_callee = true;
        } else if line.starts_with("0x")
            && !std::mem::take(&mut is_callee)
            && let Some(counts) = allocators.get_mut(function)
        {
            let mut columns = line.split(' ');
            let address = columns.next().and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
            let count = columns.nth(1).and_then(|text| text.parse::<u64>().ok());
            if let (Some(address), Some(count)) = (address, count) {
                *counts.entry(address).or_default() += count;
            }
        }
    }
    let entered = allocators.values().filter_map(|counts| counts.first_key_value()).map(|(_, count)| count).sum();
    (total, entered)
}

/// A function is called `(<id>) <name>` for the first time and `(<id>)` from then on.
fn learn<'a>(name: &'a str, allocators: &mut BTreeMap<&'a str, BTreeMap<u64, u64>>) {
    if name.split_once(' ').is_some_and(|(_, name)| ALLOCATORS.contains(&name)) {
        allocators.entry(id(name)).or_default();
    }
}

fn id(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}
