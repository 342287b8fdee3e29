//! Event streams and WebSockets.

use crate::bench::{Bench, Placement, values};
use crate::load::events::{Idle, listen};
use crate::load::http1::Call;
use crate::load::{Plan, block_on, measure, websocket};
use crate::peers::{self, Front, PORTCULLIS, Target};
use crate::rows::{MEMORY, Row, Values};
use crate::usage;
use rustix::process::Pid;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use super::count;
use super::hot::EVERYBODY;

/// Who is measured with streams: those who do the least of each kind, and the gateway.
const STREAMERS: &[&str] = &[
    peers::DIRECT,
    peers::FLOOR,
    peers::PINGORA,
    peers::NGINX,
    peers::HAPROXY,
    peers::CADDY,
    peers::AGENTGATEWAY,
    peers::PORTCULLIS,
];

pub const KIB_EACH: &str = "KiB per stream";
pub const AFTERWARDS: &str = "MiB 1 s after closing";

const PACE: u32 = 200;
const FLOOD_PACE: u32 = 20;
/// The gateway's default heartbeat is 15 seconds; every stream has had one when memory is read.
const HEARTBEAT: Duration = Duration::from_secs(25);
const HEARTBEAT_EVENT: &[u8] = b": keep-alive\n\n";

pub(super) fn paced(bench: &mut Bench) -> Result<(), String> {
    for placement in [Placement::OneCore, Placement::Split] {
        events(bench, "sse-paced", placement, 1, PACE)?;
    }
    Ok(())
}

pub(super) fn flood(bench: &mut Bench) -> Result<(), String> {
    let streams = if bench.options.quick() { 100 } else { 500 };
    events(bench, "sse-flood", Placement::OneCore, streams, FLOOD_PACE)
}

fn events(
    bench: &mut Bench,
    scenario: &'static str,
    placement: Placement,
    streams: usize,
    pace: u32,
) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    if !bench.place(placement)? {
        return Ok(());
    }
    let case = format!("{}, {} of {pace} events/s", placement.name(), count(streams, "stream"));
    let duration = bench.options.duration;
    bench.rounds((scenario, &case), &fleet, STREAMERS, |target| {
        let call = Rc::new(target.call(&format!("/events?per_second={pace}"), Some(&target.token), None));
        let plan = Plan { workers: streams, duration, watch: target.pid() };
        let measured = block_on(measure(plan, |window| listen(target.address, call.clone(), window)))?;
        Ok(values(&measured, target))
    });
    Ok(())
}

/// Every program is started anew, and measured once: a second time it would use what it kept of the first.
pub(super) fn idle(bench: &mut Bench) -> Result<(), String> {
    let streams = if bench.options.quick() { 200 } else { 2000 };
    let cores = [bench.proxy_core()];
    let fleet = bench.fresh("idle", &STREAMERS[1..], &cores)?;
    bench.place(Placement::Split)?;
    let heartbeats = !bench.options.quick();
    if !heartbeats {
        bench.remarks.push(("sse-idle", "a quick run does not wait for heartbeats".to_owned()));
    }
    for target in &fleet.targets {
        let Some(pid) = target.pid() else { continue };
        let call = target.call("/events?per_second=0", Some(&target.token), None);
        let wait = heartbeats && target.name == PORTCULLIS;
        let outcome = block_on(open_and_close(target, pid, call, streams, wait));
        eprintln!("sse-idle: {}: {outcome:?}", target.name);
        let (case, target) = (format!("{streams} streams"), target.name.to_owned());
        bench.rows.push(Row { scenario: "sse-idle", case, target, round: 0, outcome });
    }
    if fleet.targets.iter().filter_map(Target::pid).any(|pid| !usage::sees_pss(pid)) {
        let remark =
            "some programs hide their `smaps` from us; of those it is resident memory (root sees PSS)".to_owned();
        bench.remarks.push(("sse-idle", remark));
    }
    Ok(())
}

async fn open_and_close(target: &Target, pid: Pid, call: Call, streams: usize, wait: bool) -> Result<Values, String> {
    // What a first connection makes once for all is not part of a stream.
    drop(Idle::open(target.address, &call).await?);
    sleep(Duration::from_millis(300)).await;
    let before = usage::memory_kib(pid);
    let mut open = Vec::with_capacity(streams);
    for _ in 0..streams {
        open.push(Idle::open(target.address, &call).await?);
    }
    if wait {
        for stream in &mut open {
            let beat = timeout(HEARTBEAT, stream.until(HEARTBEAT_EVENT)).await;
            beat.map_err(|_| "a stream got no heartbeat".to_owned())??;
        }
    }
    sleep(Duration::from_millis(500)).await;
    let memory = usage::memory_kib(pid);
    drop(open);
    sleep(Duration::from_secs(1)).await;
    let afterwards = usage::memory_kib(pid) / 1024.0;
    Ok(vec![(KIB_EACH, (memory - before) / streams as f64), (MEMORY, memory / 1024.0), (AFTERWARDS, afterwards)])
}

pub(super) fn websockets(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    let duration = bench.options.duration;
    for placement in [Placement::OneCore, Placement::Split] {
        if !bench.place(placement)? {
            continue;
        }
        for connections in [1, 32] {
            if bench.options.quick() && placement == Placement::Split {
                continue;
            }
            let case = format!("{}, {}", placement.name(), count(connections, "connection"));
            bench.rounds(("ws-echo", &case), &fleet, STREAMERS, |target| {
                let call = Rc::new(target.upgrade("/mcp"));
                let plan = Plan { workers: connections, duration, watch: target.pid() };
                let measured = block_on(measure(plan, |window| websocket::echo(target.address, call.clone(), window)))?;
                Ok(values(&measured, target))
            });
        }
    }
    Ok(())
}
