//! Open streams through the gateway: what an idle one costs in memory and whether that memory comes back, what is added to
//! the delay of an event, and what an event costs in CPU. The gateway is the real program in a process of its own, with
//! its defaults; upstream and callers are in this one. Every stream takes two descriptors of each process, so that
//! `ulimit -Hn` may limit their number.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a benchmark prints, and says when it fails

mod common;

use common::Bench;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// How many idle streams are opened, where the descriptors suffice.
const STREAMS: usize = 10_000;
/// Memory is read again after this long without streams.
const AFTERWARDS: [u64; 3] = [1, 10, 30];
/// Rounds of each measurement of time; the median counts.
const ROUNDS: usize = 5;
const EVENTS_PER_SECOND: u32 = 200;
const SECONDS: u32 = 2;
/// How many streams share the CPU measurement.
const BUSY: usize = 100;

fn main() {
    let wanted = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(STREAMS);
    let streams = wanted.min(descriptors().saturating_sub(1000) / 2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let upstream = upstream(Instant::now()).await;
        let gateway = Gateway::start(directory.path(), upstream).await;
        delay(&gateway, upstream).await;
        busy(&gateway).await;
        memory(&gateway, streams).await;
    });
}

/// Opens `streams` idle streams twice: what was given back is known only when it was needed again.
async fn memory(gateway: &Gateway, streams: usize) {
    println!("| idle streams | RSS MB | KB per stream | seconds after closing: RSS MB |\n|---|---|---|---|");
    let before = gateway.resident();
    for _ in 0..2 {
        let mut open = JoinSet::new();
        let (beat, mut beats) = mpsc::channel(streams);
        let opening = Arc::new(Semaphore::new(100));
        for _ in 0..streams {
            let permit = opening.clone().acquire_owned().await.unwrap();
            let (beat, target) = (beat.clone(), gateway.target("/idle"));
            open.spawn(async move {
                let (mut stream, _) = target.open().await;
                drop(permit);
                wait_for(&mut stream, b": keep-alive\n\n").await;
                beat.send(()).await.unwrap();
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            });
        }
        for _ in 0..streams {
            let beat = tokio::time::timeout(Duration::from_secs(60), beats.recv()).await;
            assert!(beat.is_ok_and(|beat| beat.is_some()), "a stream got no heartbeat");
        }
        let resident = gateway.resident();
        open.shutdown().await;
        let closed = Instant::now();
        let mut afterwards = String::new();
        for seconds in AFTERWARDS {
            tokio::time::sleep_until((closed + Duration::from_secs(seconds)).into()).await;
            afterwards += &format!(" {seconds}: {:.0}", gateway.resident() / 1024.0);
        }
        println!(
            "| {streams} | {:.0} | {:.1} |{afterwards} |",
            resident / 1024.0,
            (resident - before) / streams as f64
        );
    }
    println!("\n(RSS without streams: {:.0} MB)\n", before / 1024.0);
}

/// Paced events, directly and through the gateway in turn.
async fn delay(gateway: &Gateway, upstream: SocketAddr) {
    let direct = Target { address: upstream, head: get(&upstream.to_string(), "none", "/paced") };
    let through = gateway.target("/paced");
    let (mut rounds, names) = ([Vec::new(), Vec::new()], ["direct", "portcullis"]);
    for _ in 0..ROUNDS {
        for (target, rounds) in [&direct, &through].into_iter().zip(&mut rounds) {
            let mut delays = target.delays().await;
            delays.sort_unstable();
            let quantile = |of: usize| delays[delays.len() * of / 100].as_secs_f64() * 1e6;
            rounds.push((quantile(50), quantile(99)));
        }
    }
    println!("| {EVENTS_PER_SECOND} events/s | p50 µs | p99 µs |\n|---|---|---|");
    for (name, rounds) in names.into_iter().zip(&rounds) {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!("| {name} | {:.0} | {:.0} |", median(|round| round.0), median(|round| round.1));
    }
    println!();
}

/// Many paced streams at once: the gateway's CPU for each event.
async fn busy(gateway: &Gateway) {
    let before = gateway.cpu_seconds();
    let mut open = JoinSet::new();
    for _ in 0..BUSY {
        let target = gateway.target("/paced");
        open.spawn(async move { target.delays().await.len() });
    }
    let events: usize = open.join_all().await.into_iter().sum();
    let cpu = gateway.cpu_seconds() - before;
    println!("{BUSY} streams, {events} events: {:.2} CPU s per 100,000 events\n", cpu / events as f64 * 1e5);
}

/// Where a stream is opened.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    head: String,
}

impl Target {
    /// The open stream, and what came behind its head.
    async fn open(&self) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(self.head.as_bytes()).await.unwrap();
        let opened = wait_for(&mut stream, b"\r\n\r\n");
        let rest = tokio::time::timeout(Duration::from_secs(10), opened).await.expect("the stream did not begin");
        (stream, rest)
    }

    /// How long each event took from the moment that it names.
    async fn delays(&self) -> Vec<Duration> {
        let (mut stream, mut buffer) = self.open().await;
        let (mut text, mut delays) = (String::new(), Vec::new());
        loop {
            let now = START.get().unwrap().elapsed();
            let ended = unchunk(&mut buffer, &mut text);
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                if let Some(sent) = event.trim_end().strip_prefix("data: ") {
                    delays.push(now.saturating_sub(Duration::from_nanos(sent.parse().unwrap())));
                }
            }
            if ended {
                break;
            }
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "the stream broke off");
        }
        assert_eq!(delays.len() as u32, EVENTS_PER_SECOND * SECONDS, "events were lost");
        delays
    }
}

/// Moves the payload of complete chunks from `buffer` to `text`; whether the last one was among them.
fn unchunk(buffer: &mut Vec<u8>, text: &mut String) -> bool {
    while let Some(line) = buffer.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..line]).unwrap(), 16).unwrap();
        let end = line + 2 + size + 2;
        if buffer.len() < end {
            return false;
        }
        text.push_str(std::str::from_utf8(&buffer[line + 2..end - 2]).unwrap());
        buffer.drain(..end);
        if size == 0 {
            return true;
        }
    }
    false
}

fn get(host: &str, token: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
         User-Agent: bench\r\nMcp-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: 4e0fbb9a-0d14-4d1b-8a7d-3f9b1d0e9c11\r\n\r\n"
    )
}

/// Reads until `what` was seen; what came behind it.
async fn wait_for(stream: &mut TcpStream, what: &[u8]) -> Vec<u8> {
    // No buffer while waiting: ten thousand of them are in this process.
    let mut seen = Vec::new();
    loop {
        if let Some(at) = seen.windows(what.len()).position(|window| window == what) {
            return seen.split_off(at + what.len());
        }
        stream.readable().await.unwrap();
        let mut bytes = [0; 512];
        match stream.try_read(&mut bytes) {
            Ok(0) => panic!("closed: {}", String::from_utf8_lossy(&seen)),
            Ok(read) => seen.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The moment that events count from.
static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

/// `/idle` begins a stream and says no more; `/paced` tells the time at a steady pace and ends.
async fn upstream(start: Instant) -> SocketAddr {
    START.set(start).unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(4096).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(speak(stream, start));
        }
    });
    address
}

async fn speak(mut stream: TcpStream, start: Instant) {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\
         Mcp-Session-Id: 4e0fbb9a-0d14-4d1b-8a7d-3f9b1d0e9c11\r\n\r\nd\r\nevent: open\n\n\r\n";
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if !stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
                return;
            }
        }
        let paced = request.starts_with(b"GET /paced");
        drop(request);
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        if !paced {
            continue;
        }
        let mut pace = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
        for _ in 0..EVENTS_PER_SECOND * SECONDS {
            pace.tick().await;
            let event = format!("data: {}\n\n", start.elapsed().as_nanos());
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    }
}

/// The program in a process of its own; it ends with its handle.
struct Gateway {
    process: Child,
    target: Target,
    token: String,
}

impl Gateway {
    async fn start(directory: &Path, upstream: SocketAddr) -> Self {
        let bench = Bench::new(directory, upstream.port()).await;
        let (address, token, label) = (bench.bound.as_ref().unwrap().addresses()[0], bench.token(), bench.label());
        drop(bench);
        let plenty = "10000000/s burst 10000000";
        let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("serve")
            .env("XDG_STATE_HOME", directory)
            .env("PORTCULLIS__SERVER__LISTEN", address.to_string())
            .env("PORTCULLIS__SERVER__ADMIN_LISTEN", "")
            .envs(
                ["PER_IP", "PER_USER", "PER_USER_UPSTREAM", "PER_CLIENT"]
                    .map(|limit| (format!("PORTCULLIS__LIMITS__{limit}"), plenty)),
            )
            .env("PORTCULLIS__LIMITS__CONNECTIONS_PER_IP", "100000")
            .env("PORTCULLIS__UPSTREAM__0__DOMAIN", upstream.to_string())
            .env("PORTCULLIS__UPSTREAM__0__AUTH", "header")
            .env("PORTCULLIS__UPSTREAM__0__HEADER", "authorization")
            .env("PORTCULLIS__UPSTREAM__0__VALUE", "Bearer upstream")
            .env("PORTCULLIS__UPSTREAM__0__ALLOW_PRIVATE", "true")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on"), "{line}");
        let host = format!("{label}.localhost:{}", address.port());
        Self { process, target: Target { address, head: host }, token }
    }

    fn target(&self, path: &str) -> Target {
        Target { address: self.target.address, head: get(&self.target.head, &self.token, path) }
    }

    /// Resident memory in KiB. (The process is not dumpable: its `smaps` are closed to everybody but root.)
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// User and system time so far.
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many descriptors this process, and the gateway after it, may have: as many as the system lets them.
fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap())
}
