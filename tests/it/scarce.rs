//! What the program needs runs out: descriptors, memory. Load is shed, nothing is promised that is not kept, the process
//! lives, and when there is enough again it goes on by itself.

use crate::gateway::{USER, token_at};
use crate::namespace::after;
use crate::process::Machine;
use crate::program::{Gateway, LIST, notes};
use crate::raw::{Caller, PATIENCE, RawUpstream, post, status};
use futures_util::future::join_all;
use portcullis::hostname::Realm;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Far more often than any test here waits for.
const BEAT: Duration = Duration::from_millis(100);
/// An answer after which no connection is kept.
const CLOSING: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/// Limits a running process; the hard limit stays.
fn limit(process: u32, resource: Resource, most: Option<u64>) {
    let process = Pid::from_raw(i32::try_from(process).unwrap());
    // What the hard limit is, only the process itself could ask; a soft one that is too high is refused and told.
    let hard = std::fs::read_to_string(format!("/proc/{}/limits", process.unwrap().as_raw_nonzero())).unwrap();
    let name = if resource == Resource::Nofile { "Max open files" } else { "Max data size" };
    let line = hard.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let maximum = line.split_whitespace().nth(1).unwrap().parse().ok();
    let new = Rlimit { current: most.or(maximum), maximum };
    prlimit(process, resource, new).unwrap();
}

/// A gauge of the program's metrics.
async fn gauge(admin: u16, name: &str) -> f64 {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (_, text) = Caller::connect(admin).await.send(request).await.response().await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

/// What one call came to: a status, or nothing where the connection was closed.
async fn call(port: u16, request: &str) -> Option<u16> {
    let mut caller = Caller::connect(port).await;
    if !caller.try_send(request).await {
        return None;
    }
    caller.try_response().await.map(|(head, _)| status(&head))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_load_is_shed_and_it_goes_on_by_itself() {
    let (machine, notes, admin) = (Machine::new(), RawUpstream::answering(CLOSING).await, crate::acme_peers::port());
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    command.env("PORTCULLIS__SERVER__ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
    let gateway = Gateway::start(&machine, command).await;
    let (port, process) = (gateway.address.port(), gateway.server.child.id().unwrap());
    let request = post(&gateway.host_of(&notes.authority), &gateway.token(&notes.authority).await, LIST);
    let once = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    // All that it opens when it is needed for the first time.
    assert!(join_all((0..20).map(|_| call(port, &once))).await.iter().all(|answer| *answer == Some(200)));
    let before = at_rest(admin).await;

    limit(process, Resource::Nofile, Some(before as u64 + 12));
    // Some stay, so that the others find nothing.
    let mut staying = Vec::new();
    for _ in 0..40 {
        staying.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let waiting: Vec<_> = (0..60).map(|_| (port, once.clone())).collect();
    let waiting =
        tokio::spawn(join_all(waiting.into_iter().map(|(port, once)| async move { call(port, &once).await })));
    let mut log = gateway;
    log.logs("no connection can be accepted").await;
    drop(staying);
    let mut counts = std::collections::BTreeMap::<Option<u16>, usize>::new();
    for answer in tokio::time::timeout(4 * PATIENCE, waiting).await.expect("somebody waits for ever").unwrap() {
        assert!(matches!(answer, None | Some(200 | 500 | 503)), "{answer:?}");
        *counts.entry(answer).or_default() += 1;
    }
    println!("with {before} descriptors and 12 more: {counts:?}");

    limit(process, Resource::Nofile, None);
    let calls = join_all((0..60).map(|_| call(port, &once))).await;
    assert!(calls.iter().all(|answer| *answer == Some(200)), "{calls:?}");
    let after = at_rest(admin).await;
    assert!(after <= before + 4.0, "{before} descriptors before, {after} afterwards");
    assert_eq!(log.server.signal("-TERM").await.code(), Some(0));
}

/// Descriptors when nobody is connected and nobody's connection to an upstream is kept.
async fn at_rest(admin: u16) -> f64 {
    let deadline = Instant::now() + 4 * PATIENCE;
    let mut least = f64::MAX;
    let mut quiet = 0;
    // They are closed one after the other: what does not fall for a second has fallen.
    while quiet < 10 && Instant::now() < deadline {
        tokio::time::sleep(BEAT).await;
        let busy = gauge(admin, "portcullis_connections").await > 0.0;
        let now = gauge(admin, "process_open_fds").await;
        quiet = if busy || now < least { 0 } else { quiet + 1 };
        least = least.min(now);
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_descriptors_from_the_start_there_are_few_seats_and_none_is_missing() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    let gateway = Gateway::start(&machine, after("ulimit -n 256", &command)).await;
    let (port, host) = (gateway.address.port(), gateway.host_of(&notes.authority));
    let request = post(&host, &gateway.token(&notes.authority).await, LIST);
    for _ in 0..3 {
        let answers = join_all((0..200).map(|_| call(port, &request))).await;
        let served = answers.iter().filter(|answer| **answer == Some(200)).count();
        let shed = answers.iter().filter(|answer| answer.is_none()).count();
        assert!(served >= 40 && served + shed == answers.len(), "{served} served, {shed} turned away: {answers:?}");
    }
    assert!(gateway.answers(&notes.authority).await);
    assert_eq!(gateway.server.signal("-TERM").await.code(), Some(0));
}

/// Messages and uploads that nobody takes, up to what their limits let them hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_pile_up_are_refused_before_memory_is_gone() {
    const ROOM: u64 = 160 << 20;
    const MESSAGE: usize = 6 << 20;
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let deaf = RawUpstream::start(|_, connection| async move {
        let _kept = connection;
        std::future::pending().await
    })
    .await;
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority, &deaf.authority]);
    command.env("PORTCULLIS__SERVER__KEPT_TOTAL", "32MiB").env("PORTCULLIS__STREAMS__DRAIN", "1s");
    let gateway = Gateway::start(&machine, command).await;
    let (port, process) = (gateway.address.port(), gateway.server.child.id().unwrap());
    assert!(gateway.answers(&notes.authority).await);
    let data = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    };
    let (began, resident) = (data("VmData:"), data("VmRSS:"));
    limit(process, Resource::Data, Some(began + ROOM));

    let root = format!("localhost:{port}");
    let token = token_at(&gateway.app, USER, &Realm::Root, None).await.0;
    let whole = post(&root, &token, &"x".repeat(MESSAGE));
    let upload = post(&gateway.host_of(&deaf.authority), &gateway.token(&deaf.authority).await, &"x".repeat(MESSAGE));
    let (mut open, mut shed) = (Vec::new(), 0);
    // Everything but the last byte, so that it has to be held.
    for request in (0..24).flat_map(|_| [&whole, &upload]) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let sent = stream.write_all(&request.as_bytes()[..request.len() - 1]);
        // An upload that flows through stands still as soon as all buffers on its way are full.
        let _ = tokio::time::timeout(Duration::from_millis(300), sent).await;
        let mut head = [0; 12];
        match stream.try_read(&mut head) {
            Ok(read @ 1..) => shed += usize::from(&head[..read] == b"HTTP/1.1 503"),
            _ => open.push(stream),
        }
    }
    assert!(gateway.answers(&notes.authority).await, "who behaves is served");
    let most = data("VmHWM:");
    println!("48 bodies of 6 MiB: {shed} refused, {} MiB more than at rest at most", (most - resident) >> 20);
    assert!(most - resident < ROOM, "{} MiB", (most - resident) >> 20);
    assert!(shed > 0, "nobody was told to come back later");
    drop(open);
    assert!(gateway.answers(&notes.authority).await);
    assert_eq!(gateway.server.signal("-TERM").await.code(), Some(0));
}
