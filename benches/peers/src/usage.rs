//! What a program and all that it started have used so far.

use rustix::process::Pid;
use std::fs;

/// CPU seconds, user and system, of every thread of the process tree. `schedstat` counts nanoseconds where `stat` has ticks of
/// ten milliseconds; a thread that has ended is lost, so that only differences over a time without such ends count.
pub fn cpu_seconds(root: Pid) -> f64 {
    let mut nanoseconds = 0_u64;
    for pid in tree(root) {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let statistics = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            nanoseconds += statistics.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanoseconds as f64 / 1e9
}

/// Memory in KiB: the proportional set size (pages that several processes share are counted once in sum). Where `smaps_rollup`
/// is closed to us, the resident set size.
pub fn memory_kib(root: Pid) -> f64 {
    tree(root).into_iter().map(|pid| field(pid, "smaps_rollup", "Pss:").or_else(|| resident(pid)).unwrap_or(0.0)).sum()
}

/// Whether [`memory_kib`] is the proportional set size.
pub fn sees_pss(root: Pid) -> bool {
    field(raw(root), "smaps_rollup", "Pss:").is_some()
}

/// Resident memory in KiB.
pub fn resident(pid: u32) -> Option<f64> {
    field(pid, "status", "VmRSS:")
}

fn field(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

fn tree(root: Pid) -> Vec<u32> {
    let mut found = vec![raw(root)];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

fn raw(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
