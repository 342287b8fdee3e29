//! Large bodies, two cores, the program as such, and the unified endpoint.

use super::hot::{EVERYBODY, repeat};
use super::tool_call;
use crate::bench::{Bench, Placement, values};
use crate::load::Plan;
use crate::peers::{self, Front, PORTCULLIS, start_time};
use crate::process::{Program, pin};
use crate::rows::{MEMORY, P50, P99, Row};
use crate::usage;
use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

pub const CPU_GIB: &str = "CPU s per GiB";
pub const READY: &str = "ready ms";
pub const FILE: &str = "program MiB";
const MIB_S: &str = "MiB/s";

const CARRIERS: &[&str] = &[
    peers::DIRECT,
    peers::FLOOR,
    peers::PINGORA,
    peers::NGINX,
    peers::HAPROXY,
    peers::CADDY,
    peers::AGENTGATEWAY,
    peers::PORTCULLIS,
];
const MANY: usize = 10_000;

pub(super) fn big_body(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    bench.place(Placement::OneCore)?;
    let duration = bench.options.duration;
    let large = tool_call().replace("xxx\"", &format!("{}\"", "x".repeat(1024 * 1024 - 300)));
    for (case, path, body) in
        [("1 MiB to the upstream", "/mcp", large), ("1 MiB from the upstream", "/large", tool_call())]
    {
        bench.rounds(("big-body", &format!("one core, 4 connections, {case}")), &fleet, CARRIERS, |target| {
            let call = target.call(path, Some(&target.token), Some(&body));
            let plan = Plan { workers: 4, duration, watch: target.pid() };
            let measured = repeat(plan, target, call)?;
            let gib = measured.count() / 1024.0;
            let mut values = vec![
                (MIB_S, measured.count() / measured.seconds),
                (P50, measured.quantile(0.5)),
                (P99, measured.quantile(0.99)),
            ];
            if let Some(pid) = target.pid() {
                values.push((CPU_GIB, measured.cpu / gib));
                values.push((MEMORY, usage::memory_kib(pid) / 1024.0));
            }
            Ok(values)
        });
    }
    Ok(())
}

/// A gateway that has two cores, which load and mock share with it.
pub(super) fn two_core(bench: &mut Bench) -> Result<(), String> {
    let [.., first, second] = bench.cores[..] else { return Err("this machine has one core".to_owned()) };
    let duration = bench.options.duration;
    for (case, cores) in [("one of two cores", vec![second]), ("two cores", vec![first, second])] {
        let fleet = bench.fresh(&case.replace(' ', "-"), &[PORTCULLIS], &cores)?;
        pin(None, &[first, second])?;
        pin(Some(bench.mock.program.pid()), &[first, second])?;
        bench.rounds(("two-core", &format!("{case}, 256 connections")), &fleet, &[PORTCULLIS], |target| {
            let call = target.call("/mcp", Some(&target.token), Some(&tool_call()));
            let plan = Plan { workers: 256, duration, watch: target.pid() };
            Ok(values(&repeat(plan, target, call)?, target))
        });
    }
    Ok(())
}

/// The program's size, how long it takes to be ready, and its memory when nobody uses it.
pub(super) fn start(bench: &mut Bench) -> Result<(), String> {
    let cores = bench.cores.clone();
    pin(None, &cores)?;
    let size = fs::metadata(&bench.options.portcullis).map_err(|error| error.to_string())?.len() as f64;
    let settle = if bench.options.quick() { Duration::from_secs(1) } else { Duration::from_secs(10) };
    for (case, upstreams) in [("one upstream", 0), ("10,000 upstreams", MANY)] {
        for round in 0..bench.options.rounds {
            let directory = bench.directory.join("start");
            let outcome = start_time(&bench.ground(&directory, &cores), upstreams).map(|(program, ready)| {
                std::thread::sleep(settle);
                let memory = usage::memory_kib(program.pid()) / 1024.0;
                vec![(READY, ready.as_secs_f64() * 1e3), (MEMORY, memory), (FILE, size / 1024.0 / 1024.0)]
            });
            eprintln!("start, {case}: {outcome:?}");
            bench.rows.push(Row {
                scenario: "start",
                case: case.to_owned(),
                target: PORTCULLIS.to_owned(),
                round,
                outcome,
            });
        }
    }
    Ok(())
}

/// What others measure of the unified endpoint: beside mcp-proxy, supergateway and fastmcp, with real MCP clients.
pub(super) fn mcp(bench: &mut Bench) -> Result<(), String> {
    let clients = bench.options.clients.clone().ok_or("no --clients was given")?;
    let clients = clients.canonicalize().map_err(|error| format!("{}: {error}", clients.display()))?;
    pin(None, &bench.cores)?;
    let (rounds, calls, sessions) = if bench.options.quick() { (1, 20, 5) } else { (bench.options.rounds, 200, 100) };
    let script =
        format!("cd \"$0\" && ROUNDS={rounds} CALLS={calls} SESSIONS={sessions} exec node bench-unified.mjs \"$1\"");
    let words = [
        OsStr::new("sh"),
        OsStr::new("-c"),
        OsStr::new(&script),
        clients.as_os_str(),
        bench.options.portcullis.as_os_str(),
    ];
    let text = Program::start(&bench.directory, "mcp", &bench.cores, &words)?.output()?;
    bench.remarks.push(("mcp", format!("tests/clients/bench-unified.mjs says\n\n{}", text.trim())));
    Ok(())
}
