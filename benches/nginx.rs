//! The gateway beside nginx as a plain proxy, in one run: the same upstream (nginx, 1 KiB of JSON), the same load (wrk, POST
//! with a 300-byte JSON-RPC body and a bearer token). Everything shares this machine's cores, so that CPU per request is the
//! figure to trust; requests per second only compare within the run. Needs `nginx` and `wrk`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark prints, and says when it fails

mod common;

use common::Bench;
use portcullis::server::Running;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 5;
const SECONDS: u64 = 3;
const CONNECTIONS: [u32; 3] = [1, 32, 256];

/// Who is measured.
struct Target {
    name: &'static str,
    url: String,
    host: String,
    /// The process that does the work; none for this one.
    worker: Option<u32>,
}

/// One round.
#[derive(Clone, Copy)]
struct Round {
    requests_per_second: f64,
    p50: f64,
    p99: f64,
    /// CPU seconds of the proxy per 100,000 requests.
    cpu: f64,
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mock, proxy) = (free_port(), free_port());
    let _mock = nginx(directory.path(), "mock", mock, &mock_server(mock));
    let nginx_proxy = nginx(directory.path(), "proxy", proxy, &proxy_server(proxy, mock));
    let mut bench = runtime.block_on(Bench::new(directory.path(), mock));
    let bound = bench.bound.take().unwrap();
    let running = runtime.block_on(Running::start(bench.app.clone(), bound)).unwrap();
    let script = load_script(directory.path(), &bench.token());
    let port = running.address().port();
    let local = |name, port: u16, worker| Target {
        name,
        url: format!("http://127.0.0.1:{port}/mcp"),
        host: format!("127.0.0.1:{port}"),
        worker,
    };
    let ours = Target { host: format!("{}.localhost:{port}", bench.label()), ..local("portcullis", port, None) };
    let targets = [
        local("direct", mock, Some(worker_of(&_mock))),
        local("nginx, plain proxy", proxy, Some(worker_of(&nginx_proxy))),
        ours,
    ];

    println!("| connections | target | requests/s | p50 µs | p99 µs | CPU s per 100k |\n|---|---|---|---|---|---|");
    for connections in CONNECTIONS {
        // Interleaved: what the machine does beside us hits everybody.
        let mut rounds = vec![Vec::new(); targets.len()];
        for _ in 0..ROUNDS {
            for (target, rounds) in targets.iter().zip(&mut rounds) {
                rounds.push(measure(target, connections, &script));
            }
        }
        for (target, rounds) in targets.iter().zip(&rounds) {
            let median = |of: fn(&Round) -> f64| {
                let mut values: Vec<f64> = rounds.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "| {connections} | {} | {:.0} | {:.0} | {:.0} | {:.2} |",
                target.name,
                median(|round| round.requests_per_second),
                median(|round| round.p50),
                median(|round| round.p99),
                median(|round| round.cpu),
            );
        }
    }
    runtime.block_on(running.stop());
}

fn measure(target: &Target, connections: u32, script: &Path) -> Round {
    let before = cpu_seconds(target.worker);
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{SECONDS}s"), "--latency", "-s"])
        .arg(script)
        .args(["-H", &format!("Host: {}", target.host), &target.url])
        .output()
        .unwrap_or_else(|error| panic!("wrk: {error}"));
    let cpu = cpu_seconds(target.worker) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("RESULT ")).unwrap_or_else(|| panic!("{text}"));
    let values: Vec<f64> = line.split(' ').skip(1).map(|value| value.parse().unwrap()).collect();
    let [requests, microseconds, p50, p99, failures] = values[..] else { panic!("{line}") };
    assert!(failures == 0.0, "{}: {failures} requests failed\n{text}", target.name);
    Round { requests_per_second: requests / microseconds * 1e6, p50, p99, cpu: cpu / requests * 100_000.0 }
}

/// User and system time of a process so far; of this one without an id.
fn cpu_seconds(process: Option<u32>) -> f64 {
    let path = process.map_or("/proc/self/stat".to_owned(), |id| format!("/proc/{id}/stat"));
    let stat = fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn load_script(directory: &Path, token: &str) -> PathBuf {
    let padding = "x".repeat(190);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{padding}"}}}}}}"#
    );
    let script = format!(
        r#"
wrk.method = "POST"
wrk.body = [[{body}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["Authorization"] = "Bearer {token}"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#
    );
    let path = directory.join("load.lua");
    fs::write(&path, script).unwrap();
    path
}

/// An nginx that dies with its handle.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends when the master does.
        let _ = Command::new("kill").args(["-QUIT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn nginx(directory: &Path, name: &str, port: u16, server: &str) -> Nginx {
    let prefix = directory.join(name);
    fs::create_dir_all(prefix.join("tmp")).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path tmp/{kind};"))
        .join("\n");
    let configuration = format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; tcp_nodelay on;\n{temporary}\n{server} }}\n"
    );
    fs::write(prefix.join("nginx.conf"), configuration).unwrap();
    let child = Command::new("nginx")
        .arg("-p")
        .arg(&prefix)
        .args(["-c", "nginx.conf"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("nginx: {error}"));
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Nginx(child)
}

fn mock_server(port: u16) -> String {
    let text = "y".repeat(900);
    format!(
        "server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type application/json; \
         return 200 '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}'; }} }}"
    )
}

fn proxy_server(port: u16, upstream: u16) -> String {
    format!(
        "upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://mock; proxy_http_version 1.1; \
         proxy_set_header Connection ''; proxy_buffering off; proxy_request_buffering off; }} }}"
    )
}

/// The one worker process of an nginx: the child of its master.
fn worker_of(nginx: &Nginx) -> u32 {
    let id = nginx.0.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
