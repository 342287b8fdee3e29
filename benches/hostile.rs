//! What attackers cost. `cargo bench --bench hostile -- slowloris`: 5,000 connections of `slowhttptest`, and what a
//! well-behaved caller notices. `cargo bench --bench hostile -- h2`: every HTTP/2 attack for a minute, and the memory that
//! the gateway takes for it. `cargo bench --bench hostile -- registrations`: a million clients that register from as many addresses, and
//! what is left of them. The gateway is a process of its own, with its defaults but for the limit per address: all
//! attackers have the same here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark prints, and says when it fails

mod common;
#[path = "../tests/it/h2_attacks.rs"]
#[allow(dead_code, unreachable_pub)] // shared with the tests
mod h2_attacks;

use common::Bench;
use h2_attacks::{Attack, Request, attack};
use portcullis::config::Tls;
use portcullis::server::Running;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The program's: what attacks leave behind is a matter of the allocator, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DOMAIN: &str = "gw.test";
/// Connections of the Slowloris attacks.
const ATTACKERS: usize = 5000;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments[..] {
        ["gateway", directory, upstream, tls] => {
            runtime.block_on(gateway(Path::new(directory), upstream.parse().unwrap(), tls == "tls"));
        }
        ["slowloris"] => runtime.block_on(slowloris()),
        ["h2"] => runtime.block_on(h2(60, "")),
        ["h2", seconds] => runtime.block_on(h2(seconds.parse().unwrap(), "")),
        ["h2", seconds, attack] => runtime.block_on(h2(seconds.parse().unwrap(), attack)),
        ["registrations"] => runtime.block_on(registrations(1_000_000)),
        ["registrations", count] => runtime.block_on(registrations(count.parse().unwrap())),
        _ => println!(
            "say what: `slowloris`, `registrations`, perhaps how many, or `h2`, perhaps for how many seconds each, perhaps which"
        ),
    }
}

/// The process that is attacked: prints its port, a token and the label of its upstream, and serves until it is killed.
async fn gateway(directory: &Path, upstream: u16, tls: bool) {
    let edit = |config: &mut portcullis::config::Config| {
        config.limits.connections.per_address = 1 << 20;
        if tls {
            DOMAIN.clone_into(&mut config.server.domain);
            config.tls = Tls::Files { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
        }
    };
    let mut bench = Bench::with(directory, upstream, edit).await;
    let bound = bench.bound.take().unwrap();
    let running = Running::start(bench.app.clone(), bound).await.unwrap();
    println!("{} {} {}", running.address().port(), bench.token(), bench.label());
    std::future::pending().await
}

/// That process, from outside; it ends with this handle.
struct Victim {
    process: Child,
    port: u16,
    token: String,
    label: String,
}

impl Victim {
    fn start(directory: &Path, upstream: u16, tls: bool) -> Self {
        let tls = if tls { "tls" } else { "plain" };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["gateway", &directory.display().to_string(), &upstream.to_string(), tls])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let [port, token, label] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        Self { port: port.parse().unwrap(), token: token.to_owned(), label: label.to_owned(), process }
    }

    /// Resident memory in MB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An upstream with a small answer to POST and a large one to GET.
async fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while let Some(head) = head(&mut stream, &mut buffer).await {
                    let size = if head.starts_with("GET") { 1 << 20 } else { 500 };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "y".repeat(size));
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The head of the next message; its body, if it has a length, is read and forgotten.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        stream.read_buf(buffer).await.ok().filter(|read| *read > 0)?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
    while buffer.len() < end + length.unwrap_or(0) {
        stream.read_buf(buffer).await.ok().filter(|read| *read > 0)?;
    }
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + length.unwrap_or(0));
    Some(head)
}

/// How many register at the same time.
const REGISTERING: u32 = 32;

/// From one address, then each from an address of its own, of which a machine has sixteen million.
async fn registrations(count: u32) {
    let directory = tempfile::tempdir().unwrap();
    let victim = Victim::start(directory.path(), upstream().await, false);
    let body = r#"{"redirect_uris":["http://127.0.0.1:33333/callback"],"token_endpoint_auth_method":"none","client_name":"flood"}"#;
    let request = format!(
        "POST /register HTTP/1.1\r\nHost: {}.localhost:{}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        victim.label,
        victim.port,
        body.len()
    );
    let database = directory.path().join("portcullis/portcullis.db");
    let size = || std::fs::metadata(&database).map_or(0.0, |file| file.len() as f64 / (1 << 20) as f64);
    println!("| registrations | kept (201) | refused | memory MB before, most | database MB |\n|---|---|---|---|---|");
    for (name, count, spread) in [("from one address", 1000, 0), ("from an address each", count, 1)] {
        let before = victim.memory();
        let workers: Vec<_> = (0..REGISTERING)
            .map(|worker| {
                let (request, port) = (request.clone(), victim.port);
                tokio::spawn(async move {
                    let mut answers = std::collections::BTreeMap::<u16, u32>::new();
                    for number in (worker..count).step_by(REGISTERING as usize) {
                        let source = std::net::Ipv4Addr::from_bits(0x7f01_0000 + number * spread);
                        *answers.entry(register(source, port, &request).await).or_default() += 1;
                    }
                    answers
                })
            })
            .collect();
        let waiting = async {
            let mut answers = std::collections::BTreeMap::<u16, u32>::new();
            for worker in workers {
                worker
                    .await
                    .unwrap()
                    .into_iter()
                    .for_each(|(status, count)| *answers.entry(status).or_default() += count);
            }
            answers
        };
        tokio::pin!(waiting);
        let mut most = before;
        let answers = loop {
            most = most.max(victim.memory());
            if let Ok(answers) = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await {
                break answers;
            }
        };
        let kept = answers.get(&201).copied().unwrap_or_default();
        let refused: Vec<_> = answers
            .iter()
            .filter(|(status, _)| **status != 201)
            .map(|(status, count)| format!("{count} × {status}"))
            .collect();
        println!("| {count} {name} | {kept} | {} | {before:.1}, {most:.1} | {:.1} |", refused.join(", "), size());
    }
}

/// The status of one registration from an address of this machine.
async fn register(source: std::net::Ipv4Addr, port: u16, request: &str) -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((source, 0).into()).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

async fn slowloris() {
    let directory = tempfile::tempdir().unwrap();
    let victim = Victim::start(directory.path(), upstream().await, false);
    let address = format!("127.0.0.1:{}", victim.port);
    let host = format!("{}.localhost:{}", victim.label, victim.port);
    // slowhttptest has no option for other fields, and takes what stands in this one as it is.
    let accept = format!("*/*\r\nAuthorization: Bearer {}", victim.token);
    let url = format!("http://{host}/mcp");
    let count = ATTACKERS.to_string();
    let common =
        ["-c", &count, "-r", "2500", "-l", "20", "-p", "20", "-v", "0", "-d", &address, "-m", &accept, "-u", &url];
    println!(
        "| attack | open | p50, p99 µs before | p50, p99 µs during | p99 ratio | memory MB |\n|---|---|---|---|---|---|"
    );
    for (name, mode) in [
        ("slow heads", &["-H", "-i", "5", "-x", "24"][..]),
        ("slow bodies", &["-B", "-i", "5", "-s", "100000", "-x", "24", "-t", "POST"]),
        ("slow readers", &["-X", "-n", "5", "-w", "64", "-y", "256", "-z", "16"]),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let before = measure(&victim, &host).await;
            let mut attacker = Command::new("slowhttptest")
                .args(mode)
                .args(common)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("slowhttptest: {error}"));
            tokio::time::sleep(Duration::from_secs(4)).await;
            let open = connections_to(victim.port);
            let during = measure(&victim, &host).await;
            let memory = victim.memory();
            let _ = attacker.kill();
            let _ = attacker.wait();
            while connections_to(victim.port) > 20 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            rounds.push((during.1 / before.1, open, before, during, memory));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, open, before, during, memory) = rounds[ROUNDS / 2];
        println!(
            "| {name} | {open} | {:.0}, {:.0} | {:.0}, {:.0} | {ratio:.2} | {memory:.0} |",
            before.0, before.1, during.0, during.1
        );
    }
}

/// Sockets of the gateway that are connected to somebody.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let open = table.lines().filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1] == local && fields[3] == "01"
    });
    open.count()
}

/// Median and 99th percentile in microseconds of 8 callers, each with a request every 10 ms, for 5 s. Every tenth is sent over
/// a new connection.
async fn measure(victim: &Victim, host: &str) -> (f64, f64) {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        victim.token,
        body.len()
    );
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (request, port) = (request.clone(), victim.port);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut buffer, mut times) = (Vec::new(), Vec::new());
                let mut ticks = tokio::time::interval(Duration::from_millis(10));
                for number in 1..=500 {
                    ticks.tick().await;
                    let sent = Instant::now();
                    if number % 10 == 0 {
                        stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                        stream.set_nodelay(true).unwrap();
                        buffer.clear();
                    }
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let head = head(&mut stream, &mut buffer).await.unwrap();
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    times.push(sent.elapsed().as_secs_f64() * 1e6);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

async fn h2(seconds: u64, only: &str) {
    let upstream = upstream().await;
    println!(
        "| attack, {seconds} s each | connections | ended by the gateway | pieces | memory grew by MB, at most |\n|---|---|---|---|---|"
    );
    for kind in Attack::ALL.into_iter().filter(|kind| format!("{kind:?}").contains(only)) {
        // A gateway of its own each, so that nothing hides in memory that another attack left.
        let directory = tempfile::tempdir().unwrap();
        let connector = certificates(directory.path());
        let victim = Victim::start(directory.path(), upstream, true);
        let host = format!("{}.{DOMAIN}", victim.label);
        let authority = format!("{host}:{}", victim.port);
        let request = Request { authority, path: "/mcp".to_owned(), token: Some(victim.token.clone()) };
        // The first connections pay for what every gateway needs.
        for _ in 0..4 {
            let stream = connect(&connector, victim.port).await;
            attack(Attack::Unknown, stream, &request, 1, Instant::now() + Duration::from_secs(1)).await;
        }
        let before = victim.memory();
        let until = Instant::now() + Duration::from_secs(seconds);
        let attackers: Vec<_> = (0..16)
            .map(|_| {
                let (connector, request, port) = (connector.clone(), request.clone(), victim.port);
                tokio::spawn(async move {
                    let mut sum = (0u64, 0u64, 0u64);
                    while Instant::now() < until {
                        let stream = connect(&connector, port).await;
                        let ended = attack(kind, stream, &request, u32::MAX >> 8, until).await;
                        sum = (sum.0 + 1, sum.1 + u64::from(ended.closed), sum.2 + u64::from(ended.pieces));
                    }
                    sum
                })
            })
            .collect();
        let mut most = before;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(victim.memory());
        }
        let mut sum = (0, 0, 0);
        for attacker in attackers {
            let (connections, closed, pieces) = attacker.await.unwrap();
            sum = (sum.0 + connections, sum.1 + closed, sum.2 + pieces);
        }
        println!("| {kind:?} | {} | {} | {} | {:.1} |", sum.0, sum.1, sum.2, most - before);
    }
}

/// Files for the gateway, and a client that trusts them.
fn certificates(directory: &Path) -> TlsConnector {
    let names = vec![DOMAIN.to_owned(), format!("*.{DOMAIN}")];
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(directory.join("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(connector: &TlsConnector, port: u16) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    connector.connect(ServerName::try_from(DOMAIN).unwrap(), stream).await.unwrap()
}
