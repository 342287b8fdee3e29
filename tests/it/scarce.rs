//! What the program needs runs out: descriptors, memory, the disk. Load is shed, nothing is promised that is not kept, the process
//! lives, and when there is enough again it goes on by itself.

use crate::client::{Client, send};
use crate::gateway::{PASSWORD, USER, label, token_at};
use crate::process::{Machine, Server};
use crate::program::{Gateway, LIST, notes};
use crate::raw::{Caller, PATIENCE, RawUpstream, post, status};
use futures_util::future::join_all;
use http::Method;
use portcullis::hostname::Realm;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

/// Far more often than any test here waits for.
const BEAT: Duration = Duration::from_millis(100);
/// An answer after which no connection is kept.
const CLOSING: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/// The same program, run by a shell that does something first.
pub fn after(preparation: &str, command: &Command) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{preparation}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}

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

/// The program on a file system of its own, as small as that; `mount` in front of what it is run by.
fn on_a_small_disk(machine: &Machine, command: &Command, mebibytes: u32) -> Command {
    let state = machine.path("portcullis").display().to_string();
    let program = env!("CARGO_BIN_EXE_portcullis");
    let preparation = format!(
        "mkdir -p {state}; mount -t tmpfs -o size={mebibytes}m,mode=700 tmpfs {state} || exit 9; \
         echo '{PASSWORD}' | {program} user add {USER} --admin --password-stdin >/dev/null || exit 9"
    );
    in_a_namespace(&after(&preparation, command))
}

/// Whose mounts nobody else sees.
pub fn in_a_namespace(command: &Command) -> Command {
    let inner = command.as_std();
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-m", "--propagation", "private"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(inner.get_current_dir().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    unshare
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts, which takes root: make test-root"]
async fn a_full_disk_makes_no_promises_and_costs_nobody_a_token() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    for limit in ["TOKEN_ENDPOINT", "REGISTRATION"] {
        command.env(format!("PORTCULLIS__LIMITS__{limit}"), "100000/s");
    }
    let mut server = Server::start(on_a_small_disk(&machine, &command, 24), "(http").await;
    let process = server.child.id().unwrap();
    // Somebody has to read the log.
    let mut log = server.child.stderr.take().unwrap();
    tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
    let port: u16 = server.root().rsplit(':').next().unwrap().parse().unwrap();
    let url = format!("http://{}.localhost:{port}/mcp", label(&notes.authority));
    let client = Client::ready(&url).await;
    let (tokens, doomed) = (client.connect().await, Client::ready(&url).await);
    let code = doomed.authorize().await.code.unwrap();

    let fill = format!("/proc/{process}/root{}", machine.path("portcullis/filling").display());
    let (piece, mut filling) = (vec![0; 64 * 1024], std::fs::File::create(&fill).unwrap());
    while std::io::Write::write(&mut filling, &piece).is_ok_and(|written| written > 0) {}
    // The log of the database may have room of its own for a while.
    let metadata = r#"{"redirect_uris":["http://127.0.0.1:33333/callback"],"token_endpoint_auth_method":"none"}"#;
    let register = async || {
        let (endpoint, fields) = (client.endpoint("registration_endpoint"), [("content-type", "application/json")]);
        send(&client.browser, Method::POST, &endpoint, &fields, Some(metadata.to_owned())).await.status.as_u16()
    };
    let mut registered = 0;
    let refused = loop {
        match register().await {
            201 if registered < 2000 => registered += 1,
            other => break other,
        }
    };
    assert!(matches!(refused, 500 | 503), "after {registered} registrations: {refused}");
    let spent = doomed.token_request(&doomed.code_parameters(&code)).await;
    assert!(spent.0.is_server_error(), "{spent:?}");
    let refreshed = client.refresh(&tokens.refresh).await;
    assert!(refreshed.0.is_server_error(), "{refreshed:?}");
    let revocation = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("token", tokens.refresh.as_str()), ("client_id", &client.client_id)])
        .finish();
    let revoke = async || {
        let endpoint = client.endpoint("revocation_endpoint");
        send(&client.browser, Method::POST, &endpoint, &[], Some(revocation.clone())).await.status.as_u16()
    };
    let unkept = revoke().await;
    assert!(matches!(unkept, 500 | 503), "{unkept}: what cannot be written is not promised");
    let host = format!("{}.localhost:{port}", label(&notes.authority));
    assert_eq!(call(port, &post(&host, &tokens.access, LIST)).await, Some(200), "who has a token is served");

    drop(filling);
    std::fs::remove_file(&fill).unwrap();
    let (status, answer) = client.refresh(&tokens.refresh).await;
    assert_eq!(status, 200, "{answer}");
    let bought = doomed.exchange(&code).await;
    assert_eq!(call(port, &post(&host, &bought.access, LIST)).await, Some(200), "the code was not lost");
    assert_eq!(register().await, 201);
    assert_eq!(revoke().await, 200);
    assert_eq!(call(port, &post(&host, &tokens.access, LIST)).await, Some(401));
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
}

#[tokio::test]
#[ignore = "mounts, which takes root: make test-root"]
async fn a_disk_that_cannot_be_written_is_named_at_the_start() {
    let machine = Machine::new();
    let first = Server::start(machine.command(&["serve"]), "(http").await;
    assert_eq!(first.signal("-TERM").await.code(), Some(0));
    let state = machine.path("portcullis").display().to_string();
    let read_only = format!("mount --bind {state} {state}; mount -o remount,ro,bind {state} || exit 9");
    let mut command = in_a_namespace(&after(&read_only, &machine.command(&["serve"])));
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("portcullis.db") && errors.contains("store.url"), "{errors}");
    let again = Server::start(machine.command(&["serve"]), "(http").await;
    assert_eq!(again.signal("-TERM").await.code(), Some(0));
}
