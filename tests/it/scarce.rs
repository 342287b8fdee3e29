//! What the program needs runs out: descriptors, memory, threads. Load is shed, nothing is promised that is not kept, the process
//! lives, and when there is enough again it goes on by itself.

use crate::gateway::{USER, token_at};
use crate::namespace::after;
use crate::process::Machine;
use crate::program::{Gateway, LIST, follow, notes, reaches};
use crate::raw::{Caller, PATIENCE, RawUpstream, field, get, post, status};
use futures_util::future::join_all;
use portcullis::hostname::Realm;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    let hard = fs::read_to_string(format!("/proc/{}/limits", process.unwrap().as_raw_nonzero())).unwrap();
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

/// What the kernel says about a process's memory, in bytes.
fn memory(process: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// What one call came to: a status, or nothing where the connection was closed.
async fn call_once(port: u16, request: &str) -> Option<u16> {
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
    assert!(join_all((0..20).map(|_| call_once(port, &once))).await.iter().all(|answer| *answer == Some(200)));
    let before = at_rest(admin).await;

    limit(process, Resource::Nofile, Some(before as u64 + 12));
    // Some stay, so that the others find nothing.
    let mut staying = Vec::new();
    for _ in 0..40 {
        staying.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let waiting: Vec<_> = (0..60).map(|_| (port, once.clone())).collect();
    let waiting =
        tokio::spawn(join_all(waiting.into_iter().map(|(port, once)| async move { call_once(port, &once).await })));
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
    let calls = join_all((0..60).map(|_| call_once(port, &once))).await;
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
        let answers = join_all((0..200).map(|_| call_once(port, &request))).await;
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
    let data = |name| memory(process, name);
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

/// Waits until calls are answered again.
async fn recovers(port: u16, call: &str) {
    let deadline = Instant::now() + 4 * PATIENCE;
    while call_once(port, call).await != Some(200) {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(BEAT).await;
    }
}

/// Callers that have begun a head each, and do not end it.
struct Flood(Vec<TcpStream>);

impl Flood {
    const BEGINNING: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nX: ";

    async fn begin(port: u16, callers: usize) -> Self {
        let mut open = Vec::new();
        for _ in 0..callers {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(Self::BEGINNING.as_bytes()).await.unwrap();
            open.push(stream);
        }
        Self(open)
    }

    /// Nearly as much as a head may have.
    async fn rise(&mut self) {
        let more = "x".repeat(60 << 10);
        for stream in &mut self.0 {
            // Who is turned away by now does not matter.
            let _ = stream.write_all(more.as_bytes()).await;
        }
    }
}

/// Heads that do not end take more than there is: who comes is turned away, who is there is told to come back, and a stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_load_is_shed_and_it_goes_on_by_itself() {
    const LIMIT: u64 = 40 << 20;
    let (machine, notes, admin) = (Machine::new(), notes(BEAT).await, crate::acme_peers::port());
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    command
        .env("PORTCULLIS__LIMITS__MEMORY", "40 MiB")
        .env("PORTCULLIS__STREAMS__DRAIN", "1s")
        .env("PORTCULLIS__SERVER__ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
    let mut gateway = Gateway::start(&machine, command).await;
    let (port, process) = (gateway.address.port(), gateway.server.child.id().unwrap());
    let (host, token) = (gateway.host_of(&notes.authority), gateway.token(&notes.authority).await);
    let call = post(&host, &token, LIST);
    let (mut first, mut second, mut probe) = (gateway.caller().await, gateway.caller().await, gateway.caller().await);
    for caller in [&mut first, &mut second] {
        assert_eq!(caller.send(&call).await.status().await, 200);
    }
    let events = Arc::new(AtomicUsize::new(0));
    let stream = tokio::spawn(follow(port, get(&host, &token, "/mcp"), events.clone()));
    reaches(&events, 1).await;
    let rest = memory(process, "RssAnon:");

    let mut flood = Flood::begin(port, 500).await;
    let waiting = memory(process, "RssAnon:");
    assert!(waiting < LIMIT * 3 / 4, "{rest} at rest, {waiting} with 500 callers who wait");
    flood.rise().await;
    gateway.logs("memory is nearly gone: requests are refused").await;
    let (head, body) = first.send(&call).await.response().await;
    assert_eq!((status(&head), field(&head, "retry-after").as_deref()), (503, Some("1")));
    assert!(
        field(&head, "connection").is_some_and(|field| field == "close") && body.contains("\"jsonrpc\""),
        "{head}{body}"
    );
    let (head, body) =
        second.send("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await.response().await;
    assert!(status(&head) == 503 && body.contains("\"error\""), "{head}{body}");
    let health = format!("GET /health HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    assert_eq!(probe.send(health).await.status().await, 200, "who asks how it is, is told");
    assert_eq!(call_once(port, &call).await, None, "nobody new is let in");
    reaches(&events, events.load(Ordering::SeqCst) + 3).await;
    assert_eq!(gauge(admin, "portcullis_memory_limit_bytes").await, LIMIT as f64);
    assert!(gauge(admin, "portcullis_requests_shed_total").await >= 2.0);
    let most = memory(process, "VmHWM:") - memory(process, "RssFile:");
    println!("{} MiB at rest, {} with 500 callers, {} at most", rest >> 20, waiting >> 20, most >> 20);

    drop(flood);
    recovers(port, &call).await;
    assert!(!stream.is_finished(), "a stream was cut");
    assert_eq!(gateway.server.signal("-TERM").await.code(), Some(0));
}

/// A control group with a limit of memory; takes root.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(bytes: u64) -> Self {
        let name = format!("portcullis-{}", std::process::id());
        let (one, two) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let (group, file) = match one.is_dir() {
            true => (one.join(name), "memory.limit_in_bytes"),
            false => {
                fs::write(two.join("cgroup.subtree_control"), "+memory").expect("a control group of version 2");
                (two.join(name), "memory.max")
            }
        };
        fs::create_dir(&group).expect("control groups that one may write");
        fs::write(group.join(file), bytes.to_string()).unwrap();
        Self(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Nobody has to configure it: what the system allows is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes a control group, which takes root: make test-root"]
async fn in_a_small_control_group_a_flood_does_not_kill() {
    const LIMIT: u64 = 64 << 20;
    let (machine, notes, admin) = (Machine::new(), notes(BEAT).await, crate::acme_peers::port());
    let group = ControlGroup::new(LIMIT);
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    command
        .env("PORTCULLIS__LIMITS__CONNECTIONS_PER_IP", "100000")
        .env("PORTCULLIS__SERVER__ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
    let inside = format!("echo $$ > {}", group.0.join("cgroup.procs").display());
    let mut gateway = Gateway::start(&machine, after(&inside, &command)).await;
    let port = gateway.address.port();
    let call = post(&gateway.host_of(&notes.authority), &gateway.token(&notes.authority).await, LIST);
    assert_eq!(call_once(port, &call).await, Some(200));
    assert_eq!(gauge(admin, "portcullis_memory_limit_bytes").await, LIMIT as f64);
    for _ in 0..3 {
        let mut floods = Vec::new();
        // More than three times of what there is.
        for _ in 0..8 {
            let mut flood = Flood::begin(port, 400).await;
            flood.rise().await;
            floods.push(flood);
        }
        gateway.logs("memory runs out: connections are refused").await;
        drop(floods);
        recovers(port, &call).await;
    }
    assert_eq!(gateway.server.signal("-TERM").await.code(), Some(0));
}

/// Whoever may have few threads gets an answer or an error, and not one line for ever.
#[tokio::test]
#[ignore = "has the limits of another user, which takes root: make test-root"]
async fn without_threads_it_ends_and_says_little() {
    const NOBODY: u32 = 54_321;
    const MOST_SAID: u64 = 64 << 10;
    // Where that user may come.
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("portcullis");
    fs::copy(env!("CARGO_BIN_EXE_portcullis"), &program).unwrap();
    for path in [directory.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut answered = false;
    // It wants one for each processor, and a few.
    for threads in 1..=std::thread::available_parallelism().unwrap().get() + 6 {
        let mut command = tokio::process::Command::new("prlimit");
        command.arg(format!("--nproc={threads}:{threads}")).arg(&program).args(["encode", "mcp.example"]);
        command.env_clear().current_dir("/").uid(NOBODY).gid(NOBODY).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut said, mut complaints) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap().take(MOST_SAID));
        let ended = async {
            let _ = tokio::join!(stdout.read_to_string(&mut said), stderr.read_to_string(&mut complaints));
            child.wait().await.unwrap()
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        assert!((complaints.len() as u64) < MOST_SAID, "{threads} threads: {}", &complaints[..200]);
        let ended = ended.unwrap_or_else(|_| panic!("{threads} threads: it does not end"));
        assert!(ended.success() || !complaints.is_empty(), "{threads} threads: {ended}, without a word");
        answered = ended.success() && said.trim() == "nvrxaltfpbqw24dmmu-enc";
        println!("{threads} threads: {ended}, {}", complaints.lines().next().unwrap_or("nothing to complain of"));
    }
    assert!(answered, "those are enough");
}
