//! The life of the process: its configuration changes, another version of its binary takes over, it is told to stop; and
//! what callers notice of it.

use crate::acme::plain;
use crate::acme_peers::{port, presented};
use crate::gateway::label;
use crate::process::{Machine, PATIENCE};
use crate::program::{Gateway, LIST, Orphan, echo, follow, notes, reaches};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::tls_peers::Authority;
use futures_util::{SinkExt, StreamExt};
use portcullis::config::Tls;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Events come this often.
const BEAT: Duration = Duration::from_millis(50);
/// An end that waits for nothing takes less, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A stream of events that is read to its end: all numbers in their order, and no torn end.
async fn read_stream(port: u16, request: String, read: Arc<AtomicUsize>) -> Instant {
    follow(port, request, read).await.unwrap_or_else(|why| panic!("{why}"))
}

/// Calls until told to stop; connections are kept as long as the gateway keeps them, or used once. How many there were.
async fn call(port: u16, request: String, keep: bool, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> usize {
    let mut connections = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut caller = Caller::connect(port).await;
        connections += 1;
        while !stop.load(Ordering::SeqCst) {
            let (head, body) = caller.send(&request).await.response().await;
            assert_eq!((status(&head), body.as_str()), (200, "{}"), "{head}");
            answered.fetch_add(1, Ordering::SeqCst);
            if !keep || field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
    }
    connections
}

async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) -> Message {
    socket.send(Message::text(text)).await.unwrap();
    hear(socket).await
}

/// The next message that is not a heartbeat.
async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Message {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came");
        let message = next.expect("closed").unwrap();
        if !message.is_ping() {
            return message;
        }
    }
}

#[tokio::test]
async fn a_new_binary_takes_over_and_no_caller_notices() {
    const STREAMS: usize = 50;
    let (machine, notes, echo) = (Machine::new(), notes(BEAT).await, echo().await);
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority, &echo]);
    command.env("PORTCULLIS__STREAMS__UPGRADE_DRAIN", "4s");
    let mut gateway = Gateway::start(&machine, command).await;
    let port = gateway.address.port();
    let (host, token) = (gateway.host_of(&notes.authority), gateway.token(&notes.authority).await);
    let (events, answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::default());
    let streams: Vec<_> =
        (0..STREAMS).map(|_| tokio::spawn(read_stream(port, get(&host, &token, "/mcp"), events.clone()))).collect();
    let callers: Vec<_> = [true, true, true, true, false, false]
        .map(|keep| tokio::spawn(call(port, post(&host, &token, LIST), keep, Arc::clone(&stop), answered.clone())))
        .into();
    let mut request = format!("ws://{}/ws", gateway.host_of(&echo)).into_client_request().unwrap();
    let bearer = format!("Bearer {}", gateway.token(&echo).await);
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    assert_eq!(say(&mut socket, "before").await, Message::text("before"));
    reaches(&events, STREAMS * 2).await;
    reaches(&answered, 100).await;

    gateway.server.tell("-USR2").await;
    let successor = Orphan::of(&gateway.logs("starting the process that takes over").await);
    gateway.logs("the new process has taken over").await;
    let relieved = Instant::now();
    let (before, seen) = (answered.load(Ordering::SeqCst), events.load(Ordering::SeqCst));
    reaches(&answered, before + 200).await;
    reaches(&events, seen + STREAMS).await;
    assert!(streams.iter().all(|stream| !stream.is_finished()), "streams go on");
    assert_eq!(say(&mut socket, "after").await, Message::text("after"));

    let mut ends = Vec::new();
    for stream in streams {
        ends.push(tokio::time::timeout(PATIENCE, stream).await.expect("a stream does not end").unwrap() - relieved);
    }
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*first > Duration::from_millis(2500), "they end in the last quarter: {first:?}");
    assert!(*last - *first > Duration::from_millis(500), "not all at once: {first:?} to {last:?}");
    let Message::Close(Some(reason)) = hear(&mut socket).await else { panic!("no reason was given") };
    assert_eq!(reason.code, CloseCode::Away);
    assert_eq!(gateway.ended().await, Some(0));
    reaches(&answered, answered.load(Ordering::SeqCst) + 50).await;
    stop.store(true, Ordering::SeqCst);
    for (number, caller) in callers.into_iter().enumerate() {
        let connections = caller.await.unwrap();
        assert!(connections >= 2, "caller {number} was not asked to connect anew");
    }
    successor.stop(gateway.address).await;
}

/// The same over HTTP/2, connecting anew whenever the gateway says that it goes away.
async fn call_over_http2(
    authority: Arc<Authority>,
    (port, host, token): (u16, String, String),
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> usize {
    let mut connections = 0;
    while !stop.load(Ordering::SeqCst) {
        let stream = authority.connect(port, host.split(':').next().unwrap(), "h2").await;
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        connections += 1;
        while !stop.load(Ordering::SeqCst) {
            let request =
                http::Request::post(format!("https://{host}/mcp")).header("authorization", format!("Bearer {token}"));
            let Ok(mut ready) = sender.clone().ready().await else { break };
            let Ok((response, mut body)) = ready.send_request(request.body(()).unwrap(), false) else { break };
            body.send_data(LIST.into(), true).unwrap();
            let response = tokio::time::timeout(PATIENCE, response).await.expect("no answer").expect("cut off");
            assert_eq!(response.status(), 200);
            let (mut body, mut text) = (response.into_body(), Vec::new());
            while let Some(data) = body.data().await {
                text.extend_from_slice(&data.unwrap());
            }
            assert_eq!(text, b"{}");
            answered.fetch_add(1, Ordering::SeqCst);
        }
        drop(sender);
        tokio::time::timeout(PATIENCE, connection).await.expect("the connection stays open").unwrap().unwrap();
    }
    connections
}

#[tokio::test]
async fn http2_connections_are_told_to_go_and_lose_nothing() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let authority = Arc::new(Authority::new("test"));
    let name = format!("{}.localhost", label(&notes.authority));
    let tls = authority.files(&["localhost", &name]);
    let Tls::Files { cert, key } = &tls else { panic!() };
    let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    command.env("PORTCULLIS__TLS__MODE", "files").env("PORTCULLIS__TLS__CERT", cert).env("PORTCULLIS__TLS__KEY", key);
    let http = port();
    command.env("PORTCULLIS__SERVER__HTTP_LISTEN", format!("127.0.0.1:{http}"));
    let mut gateway = Gateway::start_with(&machine, command, tls).await;
    let token = gateway.token(&notes.authority).await;
    let what = (gateway.address.port(), gateway.host_of(&notes.authority), token);
    let (answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let callers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(call_over_http2(authority.clone(), what.clone(), stop.clone(), answered.clone())))
        .collect();
    reaches(&answered, 100).await;
    gateway.server.tell("-USR2").await;
    let successor = Orphan::of(&gateway.logs("starting the process that takes over").await);
    gateway.logs("the new process has taken over").await;
    // Nobody keeps the old one.
    assert_eq!(gateway.ended().await, Some(0));
    reaches(&answered, answered.load(Ordering::SeqCst) + 100).await;
    let led = plain(http, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(led.starts_with("HTTP/1.1 301 "), "port 80 is handed over too: {led}");
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        // A third when the old process was already taking the one that follows.
        let connections = caller.await.unwrap();
        assert!((2..=3).contains(&connections), "{connections}");
    }
    successor.stop(gateway.address).await;
}

#[tokio::test]
async fn a_changed_certificate_is_taken_without_a_signal_and_a_mixed_pair_is_not() {
    let (machine, authority, other) = (Machine::new(), Authority::new("test"), Authority::new("other"));
    let (tls, Tls::Files { cert: next_cert, key: next_key }) =
        (authority.files(&["localhost"]), other.files(&["localhost"]))
    else {
        panic!()
    };
    let Tls::Files { cert, key } = &tls else { panic!() };
    let mut command = Gateway::command(&machine, &["serve"], &[]);
    command.env("PORTCULLIS__TLS__MODE", "files").env("PORTCULLIS__TLS__CERT", cert).env("PORTCULLIS__TLS__KEY", key);
    let mut gateway = Gateway::start_with(&machine, command, tls.clone()).await;
    let port = gateway.address.port();
    let before = presented(port, "localhost").await;
    std::fs::copy(next_cert, cert).unwrap();
    gateway.logs("does not belong to the certificate").await;
    assert_eq!(presented(port, "localhost").await, before);
    std::fs::copy(next_key, key).unwrap();
    gateway.logs("the configuration was read again").await;
    assert_ne!(presented(port, "localhost").await, before);
}

#[tokio::test]
async fn a_binary_that_does_not_start_leaves_everything_as_it_was() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let binary = machine.path("gateway");
    let install = |target: &Path| {
        let next = machine.path("next");
        symlink(target, &next).unwrap();
        std::fs::rename(next, &binary).unwrap();
    };
    let original = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    install(original);
    let mut command = Command::new(&binary);
    let like = Gateway::command(&machine, &["serve"], &[&notes.authority]);
    command.arg("serve").env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.envs(like.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut gateway = Gateway::start(&machine, command).await;
    let host = gateway.host_of(&notes.authority);
    let token = gateway.token(&notes.authority).await;
    let mut stream = gateway.caller().await;
    stream.send(get(&host, &token, "/mcp")).await.until("data: 0\n\n").await;

    for (broken, why) in [("/bin/false", "exit status: 1"), ("/dev/null", "cannot be started")] {
        install(Path::new(broken));
        gateway.server.tell("-USR2").await;
        let line = gateway.logs("no upgrade").await;
        assert!(line.contains(why), "{line}");
        assert!(gateway.answers(&notes.authority).await);
    }
    stream.until("data: 3\n\n").await;

    install(original);
    gateway.server.tell("-USR2").await;
    let successor = Orphan::of(&gateway.logs("starting the process that takes over").await);
    gateway.logs("the new process has taken over").await;
    assert!(gateway.answers(&notes.authority).await);
    // The old one is still there for its stream, until it is told to stop.
    gateway.server.tell("-TERM").await;
    assert!(stream.until("0\r\n\r\n").await.contains("data: "), "the stream ends between two events");
    assert_eq!(gateway.ended().await, Some(0));
    assert!(gateway.answers(&notes.authority).await);
    successor.stop(gateway.address).await;
}

#[tokio::test]
async fn a_stop_waits_for_nothing_that_is_idle_and_closes_the_database() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    let mut gateway = Gateway::start(&machine, Gateway::command(&machine, &["serve"], &[&notes.authority])).await;
    let (host, token) = (gateway.host_of(&notes.authority), gateway.token(&notes.authority).await);
    gateway.app.store.close().await;
    let (mut idle, mut stream) = (gateway.caller().await, gateway.caller().await);
    assert_eq!(idle.send(post(&host, &token, LIST)).await.status().await, 200);
    stream.send(get(&host, &token, "/mcp")).await.until("data: 0\n\n").await;
    let asked = Instant::now();
    gateway.server.tell("-TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert_eq!(idle.rest().await, "");
    assert!(stream.rest().await.ends_with("0\r\n\r\n"), "the stream ended between two events");
    let files = std::fs::read_dir(machine.path("portcullis")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(
        files,
        ["portcullis.db", "portcullis.db-spool", "vault.key"],
        "the log of the database was written back"
    );
}

#[tokio::test]
async fn a_hanging_request_is_waited_for_until_somebody_loses_patience() {
    let (machine, notes) = (Machine::new(), notes(BEAT).await);
    for (drain, signals) in [("1s", 1), ("1h", 2)] {
        let mut command = Gateway::command(&machine, &["serve"], &[&notes.authority]);
        command.env("PORTCULLIS__STREAMS__DRAIN", drain);
        let mut gateway = Gateway::start(&machine, command).await;
        let (host, token) = (gateway.host_of(&notes.authority), gateway.token(&notes.authority).await);
        let before = notes.connections();
        let mut hanging = gateway.caller().await;
        hanging.send(post(&host, &token, LIST).replace("POST", "PUT")).await;
        while notes.connections() == before {
            tokio::task::yield_now().await;
        }
        gateway.server.tell("-TERM").await;
        gateway.logs("stopping").await;
        let asked = Instant::now();
        if signals == 2 {
            gateway.server.tell("-TERM").await;
        }
        assert_eq!(gateway.ended().await, Some(0));
        assert!(asked.elapsed() < AT_ONCE, "{drain}: {:?}", asked.elapsed());
        if signals == 1 {
            assert!(asked.elapsed() > Duration::from_millis(900), "{:?}", asked.elapsed());
        }
        assert!(!hanging.rest().await.contains("200"));
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_over_while_a_stream_is_open() {
    let (machine, notes, other) = (
        Machine::new(),
        notes(BEAT).await,
        RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            .await,
    );
    let upstream = |authority: &str| format!("[[upstream]]\ndomain = \"{authority}\"\nauth = \"none\"\n");
    let base = format!("[upstreams]\nunknown = \"deny\"\nallow_private = true\n{}", upstream(&notes.authority));
    let file = machine.write("portcullis.toml", &base);
    let mut gateway = Gateway::start(&machine, machine.command(&["serve", "-c", &file])).await;
    let (host, token) = (gateway.host_of(&notes.authority), gateway.token(&notes.authority).await);
    let mut stream = gateway.caller().await;
    stream.send(get(&host, &token, "/mcp")).await.until("data: 0\n\n").await;

    // Replaced, as editors do it; nobody sends a signal.
    let next = machine.write("next.toml", &format!("{base}{}", upstream(&other.authority)));
    std::fs::rename(next, &file).unwrap();
    let line = gateway.logs("the configuration was read again").await;
    assert!(line.contains("upstream"), "{line}");
    assert!(gateway.answers(&other.authority).await);

    machine.write("portcullis.toml", &format!("[limits]\nper_ip = \"many\"\n{base}nonsense = 1\n"));
    gateway.logs(&format!("{file}:2: limits.per_ip")).await;
    gateway.logs("nonsense: unknown key").await;
    gateway.logs("stays as it was").await;
    assert!(gateway.answers(&other.authority).await, "a bad file changes nothing");

    let telemetry = "[telemetry]\nlevel = \"debug\"\nlog_format = \"json\"\n";
    machine.write("portcullis.toml", &format!("{telemetry}{base}"));
    gateway.server.tell("-HUP").await;
    gateway.logs("telemetry.level").await;
    let line = gateway.logs("need a restart").await;
    assert!(line.contains("telemetry.log_format"), "{line}");
    let gone = post(&gateway.host_of(&other.authority), &gateway.token(&other.authority).await, LIST);
    assert_eq!(gateway.caller().await.send(gone).await.status().await, 404);
    gateway.logs("access").await;
    stream.until("\n\n").await;
    assert_eq!(gateway.server.signal("-TERM").await.code(), Some(0));
    assert!(stream.rest().await.ends_with("0\r\n\r\n"));
}
