//! The program, running: started, called, told things by signals, and what it has behind it.

use crate::gateway::{PASSWORD, USER, config, label, token_of};
use crate::process::{Machine, PATIENCE, Server, wait_for};
use crate::raw::{Caller, RawUpstream, post};
use futures_util::{SinkExt, StreamExt};
use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::config::Tls;
use portcullis::ids::Random;
use portcullis::secret::Secret;
use portcullis::store::Role;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{ChildStderr, Command};
use tokio_tungstenite::accept_async;

/// What [`Gateway::answers`] asks.
pub const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// An upstream that answers POST, streams numbers to whoever sends GET, one each `beat`, and never answers PUT.
pub async fn notes(beat: Duration) -> RawUpstream {
    RawUpstream::start(move |_, mut connection| async move {
        while let Some(head) = connection.request_head().await {
            if head.starts_with("POST") {
                connection
                    .send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                    .await;
            } else if head.starts_with("PUT") {
                connection.closed().await;
            } else {
                connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
                let mut number = 0;
                while tokio::io::AsyncWriteExt::write_all(
                    &mut connection.stream,
                    format!("data: {number}\n\n").as_bytes(),
                )
                .await
                .is_ok()
                {
                    number += 1;
                    tokio::time::sleep(beat).await;
                }
                return;
            }
        }
    })
    .await
}

/// A WebSocket upstream that sends everything back.
pub async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    authority
}

/// The program, running, with what it takes to call it.
pub struct Gateway {
    pub server: Server,
    log: Lines<BufReader<ChildStderr>>,
    pub address: SocketAddr,
    /// The same parts on the same database, for making tokens.
    pub app: App,
}

impl Gateway {
    /// With these upstreams, used by everybody, and limits that no test reaches.
    pub fn command(machine: &Machine, arguments: &[&str], upstreams: &[&str]) -> Command {
        let mut command = machine.command(arguments);
        command.env("PORTCULLIS__UPSTREAMS__ALLOW_PRIVATE", "true");
        for limit in ["PER_IP", "PER_USER", "PER_USER_UPSTREAM", "PER_CLIENT"] {
            command.env(format!("PORTCULLIS__LIMITS__{limit}"), "100000/s");
        }
        for (number, authority) in upstreams.iter().enumerate() {
            command.env(format!("PORTCULLIS__UPSTREAM__{number}__DOMAIN"), authority);
            command.env(format!("PORTCULLIS__UPSTREAM__{number}__AUTH"), "none");
        }
        command
    }

    pub async fn start(machine: &Machine, command: Command) -> Self {
        Self::start_with(machine, command, Tls::Off).await
    }

    pub async fn start_with(machine: &Machine, command: Command, tls: Tls) -> Self {
        let mut server = Server::start(command, "(http").await;
        let log = tokio::io::AsyncBufReadExt::lines(BufReader::new(server.child.stderr.take().unwrap()));
        let port = server.root().rsplit(':').next().unwrap().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = config(machine.home.path());
        config.tls = tls;
        let app = App::build(config, &[address], Clock::system(), Random::default()).await.unwrap();
        if app.store.user_by_name(USER).await.unwrap().is_none() {
            app.identity.create(USER, &Secret::new(PASSWORD.to_owned()), Role::Administrator).await.unwrap();
        }
        Self { server, log, address, app }
    }

    pub fn host_of(&self, authority: &str) -> String {
        format!("{}.localhost:{}", label(authority), self.address.port())
    }

    pub async fn token(&self, authority: &str) -> String {
        token_of(&self.app, USER, authority).await.0
    }

    pub async fn caller(&self) -> Caller {
        Caller::connect(self.address.port()).await
    }

    pub async fn logs(&mut self, text: &str) -> String {
        wait_for(&mut self.log, text).await
    }

    /// Whether it answers.
    pub async fn answers(&self, authority: &str) -> bool {
        let request = post(&self.host_of(authority), &self.token(authority).await, LIST);
        self.caller().await.send(request).await.status().await == 200
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.server.child.wait()).await.expect("it does not end").unwrap().code()
    }
}

/// Ends a process that is not our child, however the test ends.
pub struct Orphan(String);

impl Orphan {
    /// From the line with which the old process tells about the new one.
    pub fn of(line: &str) -> Self {
        let id: String = line.split("process=").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        assert!(!id.is_empty(), "{line}");
        Self(id)
    }

    pub fn id(&self) -> &str {
        &self.0
    }

    pub async fn tell(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0]).status().await.unwrap().success());
    }

    pub async fn stop(self, address: SocketAddr) {
        self.tell("-TERM").await;
        let refused = async { while TcpStream::connect(address).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, refused).await.expect("it does not stop");
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ =
            std::process::Command::new("kill").args(["-KILL", &self.0]).stderr(std::process::Stdio::null()).status();
    }
}

/// Reads a stream to its end, every number in its turn. When it ended; an error when it was cut, or lost something.
pub async fn follow(port: u16, request: String, read: Arc<AtomicUsize>) -> Result<Instant, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.map_err(|error| error.to_string())?;
    let (mut text, mut next) = (Vec::new(), 0_u32);
    loop {
        while let Some(number) = first_number(&mut text) {
            if number != next {
                return Err(format!("{number} came instead of {next}"));
            }
            next += 1;
            read.fetch_add(1, Ordering::SeqCst);
        }
        if text.ends_with(b"\r\n0\r\n\r\n") {
            return Ok(Instant::now());
        }
        match stream.read_buf(&mut text).await {
            Ok(0) => return Err(format!("cut after {next} events: {:?}", String::from_utf8_lossy(&text))),
            Err(error) => return Err(format!("cut after {next} events: {error}")),
            Ok(_) => {}
        }
    }
}

/// Takes the first whole event out.
fn first_number(text: &mut Vec<u8>) -> Option<u32> {
    let begin = text.windows(6).position(|window| window == b"data: ")? + 6;
    let end = begin + text[begin..].windows(2).position(|window| window == b"\n\n")?;
    let number = std::str::from_utf8(&text[begin..end]).ok()?.parse().ok();
    text.drain(..end + 2);
    number
}

/// Waits until so many were counted.
pub async fn reaches(counter: &AtomicUsize, target: usize) {
    let reached = async {
        while counter.load(Ordering::SeqCst) < target {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it does not go on");
}
