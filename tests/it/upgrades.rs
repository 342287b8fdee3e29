//! The next version of the binary takes over a gateway that has much to do: a flood of requests and a thousand open streams
//! (`make upgrade-load`), and programs that run.

use crate::gateway::{USER, token_at};
use crate::process::{Machine, PATIENCE};
use crate::program::{Gateway, Orphan, follow, notes, reaches};
use crate::raw::get;
use crate::speaker::{Speaker, pool};
use portcullis::hostname::{Label, Realm};
use portcullis::mcp::era::Era;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Open streams of events, and how often each has one.
const STREAMS: usize = 1_000;
const BEAT: Duration = Duration::from_millis(500);
/// How long the old process lets streams go on; in the last quarter it ends them.
const DRAIN: Duration = Duration::from_secs(24);
/// How long the flood lasts, upgrades included.
const FLOOD: Duration = Duration::from_secs(20);

/// What a program of ours is asked to be.
const PROGRAM: &str = "demo-stdio";

/// wrk, and what it counted.
async fn flood(machine: &Machine, (port, host, token): (u16, &str, &str)) -> Flooded {
    let script = format!(
        r#"
wrk.method = "POST"
wrk.body = [[{{"jsonrpc":"2.0","id":1,"method":"tools/list"}}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["Authorization"] = "Bearer {token}"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %f %f %f %d %d %d %d %d\n", summary.requests, latency:percentile(50),
    latency:percentile(99), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
"#
    );
    let script = machine.write("load.lua", &script);
    let mut wrk = Command::new("wrk");
    wrk.args(["-t2", "-c64", &format!("-d{}s", FLOOD.as_secs()), "--timeout", "10s", "--latency", "-s", &script]);
    wrk.args(["-H", &format!("Host: {host}"), &format!("http://127.0.0.1:{port}/mcp")]).kill_on_drop(true);
    let output = wrk.output().await.expect("wrk cannot be started: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("RESULT ")).unwrap_or_else(|| panic!("{text}"));
    let values: Vec<f64> = line.split(' ').skip(1).map(|value| value.parse().unwrap()).collect();
    let [requests, p50, p99, worst, errors @ ..] = &values[..] else { panic!("{line}") };
    Flooded { requests: *requests as u64, p50: *p50, p99: *p99, worst: *worst, errors: errors.to_vec() }
}

/// Microseconds, and errors of connecting, reading, writing, status and time.
#[derive(Debug)]
struct Flooded {
    requests: u64,
    p50: f64,
    p99: f64,
    worst: f64,
    errors: Vec<f64>,
}

/// Two upgrades in twenty seconds, under a flood of requests and with a thousand open streams: no request fails, no stream is
/// cut, and none loses or doubles an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and wants wrk: make upgrade-load"]
async fn nothing_is_lost_under_load() {
    let (machine, numbers) = (Machine::new(), notes(BEAT).await);
    let mut command = Gateway::command(&machine, &["serve"], &[&numbers.authority]);
    command.env("PORTCULLIS__STREAMS__UPGRADE_DRAIN", format!("{}s", DRAIN.as_secs()));
    command.env("PORTCULLIS__LIMITS__CONNECTIONS_PER_IP", "4000");
    let mut gateway = Gateway::start(&machine, command).await;
    let port = gateway.address.port();
    let (host, token) = (gateway.host_of(&numbers.authority), gateway.token(&numbers.authority).await);
    let events = Arc::<AtomicUsize>::default();
    let open = |count: usize| -> Vec<_> {
        (0..count).map(|_| tokio::spawn(follow(port, get(&host, &token, "/mcp"), events.clone()))).collect()
    };
    let first = open(STREAMS);
    reaches(&events, 2 * STREAMS).await;
    let flooding = async { flood(&machine, (port, &host, &token)).await };
    let upgrading = async {
        tokio::time::sleep(FLOOD / 5).await;
        gateway.server.tell("-USR2").await;
        let second = Orphan::of(&gateway.logs("starting the process that takes over").await);
        gateway.logs("the new process has taken over").await;
        let relieved = Instant::now();
        // The next one has streams of its own when its turn comes.
        let later = open(STREAMS / 10);
        tokio::time::sleep(FLOOD / 5).await;
        second.tell("-USR2").await;
        let third = Orphan::of(&gateway.logs("starting the process that takes over").await);
        gateway.logs("the new process has taken over").await;
        (relieved, Instant::now(), later, second, third)
    };
    let (flooded, (relieved, relieved_again, later, _second, third)) = tokio::join!(flooding, upgrading);
    let Flooded { requests, p50, p99, worst, errors } = &flooded;
    println!("{requests} requests, p50 {p50:.0} µs, p99 {p99:.0} µs, the slowest {worst:.0} µs; errors {errors:?}");
    for (streams, since) in [(first, relieved), (later, relieved_again)] {
        let (mut ends, mut cut) = (Vec::new(), Vec::new());
        let count = streams.len();
        for stream in streams {
            match tokio::time::timeout(DRAIN + PATIENCE, stream).await.expect("a stream does not end").unwrap() {
                Ok(end) => ends.push(end.saturating_duration_since(since)),
                Err(why) => cut.push(why),
            }
        }
        let bounds = (ends.iter().min(), ends.iter().max());
        println!("{count} streams: {} cut, they ended {bounds:?} after the handover", cut.len());
        assert!(cut.is_empty(), "{} of {count} were cut: {:?}", cut.len(), &cut[..cut.len().min(5)]);
        assert!(ends.iter().all(|end| *end > DRAIN / 2), "one ended before its time: {bounds:?}");
    }
    println!("{} events, none lost", events.load(Ordering::SeqCst));
    assert!(flooded.errors.iter().all(|count| *count == 0.0), "failed requests: {flooded:?}");
    assert!(flooded.requests > 1_000, "{flooded:?}");
    third.stop(gateway.address).await;
}

/// The programs that a gateway runs, however far below it.
fn programs_of(id: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
        let command = fs::read_to_string(path.join("cmdline")).ok()?;
        Some((path.file_name()?.to_str()?.to_owned(), parent, command))
    });
    let processes: Vec<_> = processes.collect();
    let (mut family, mut programs) = (vec![id.to_owned()], Vec::new());
    while let Some(parent) = family.pop() {
        for (process, _, command) in processes.iter().filter(|(_, of, _)| *of == parent) {
            family.push(process.clone());
            if command.contains(PROGRAM) {
                programs.push(process.clone());
            }
        }
    }
    programs
}

async fn gone(process: &str) {
    let wait = async {
        while Path::new("/proc").join(process).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("process {process} goes on"));
}

/// A call that is under way ends at the program where it began; the same session goes on at the new process, which has a
/// program of its own; and nothing of the old one is left when it is done.
#[tokio::test]
async fn programs_are_handed_over_with_what_they_are_doing() {
    let machine = Machine::new();
    let mut command = Gateway::command(&machine, &["serve"], &[]);
    let program = format!("[\"{}\", \"{PROGRAM}\"]", env!("CARGO_BIN_EXE_portcullis"));
    command.env("PORTCULLIS__UPSTREAM__0__COMMAND", &program).env("PORTCULLIS__UPSTREAM__0__ALIAS", "notes");
    let mut gateway = Gateway::start(&machine, command).await;
    let url = format!("http://notes.localhost:{}/mcp", gateway.address.port());
    let token = token_at(&gateway.app, USER, &Realm::Mcp(Label::parse("notes").unwrap()), None).await.0;
    let speaker = Arc::new(Speaker::new(&pool(), &url, &token, Era::Legacy).await);
    assert!(speaker.tools().await.contains(&"slow".to_owned()));
    let old = gateway.server.child.id().unwrap().to_string();
    let before = programs_of(&old);
    assert!(!before.is_empty(), "no program runs");
    let slow = tokio::spawn({
        let speaker = speaker.clone();
        // Longer than a process takes to start on a busy machine.
        async move { speaker.call(7, "slow", json!({"steps": 60, "delay_ms": 100})).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;

    gateway.server.tell("-USR2").await;
    let successor = Orphan::of(&gateway.logs("starting the process that takes over").await);
    gateway.logs("the new process has taken over").await;
    // A new connection goes to the new process, but for those that the old one was already taking; either way it is answered.
    let handed_over = async {
        while programs_of(successor.id()).is_empty() {
            let echoed = speaker.through(&pool()).call(8, "echo", json!({"text": "after"})).await;
            assert!(echoed.to_string().contains("after"), "{echoed}");
        }
    };
    tokio::time::timeout(PATIENCE, handed_over).await.expect("the new process has a program of its own");
    assert!(!slow.is_finished(), "the call was to be under way");
    assert!(slow.await.unwrap().to_string().contains("done"), "a call that was under way is answered");
    // Its connection to the old process goes with it.
    drop(speaker);
    assert_eq!(gateway.ended().await, Some(0));
    for process in before {
        gone(&process).await;
    }
    let left = programs_of(successor.id());
    successor.stop(gateway.address).await;
    for process in left {
        gone(&process).await;
    }
}
