//! Programs behind the unified endpoint that die, hang, flood and babble: the real gateway stays small, starts them again and says
//! what happened, and nobody else notices.

use crate::client::Client;
use crate::gateway::{PASSWORD, USER};
use crate::process::{Machine, Server};
use crate::speaker::{Heard, Speaker, pool};
use portcullis::mcp::era::Era;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// How long a call may take, by configuration.
const CALL: Duration = Duration::from_secs(4);
/// When a program that was ended has to be there again.
const RETURN: Duration = Duration::from_secs(45);
/// What a neighbour's call may take on a machine with much to do.
const NEIGHBOUR: Duration = Duration::from_secs(10);
/// What all the floods together may cost; the largest of them is 192 MiB.
const MOST: u64 = 96 << 20;
/// How much of the log is kept.
const KEPT_LOG: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_misbehave_are_bounded_started_again_and_told_of() {
    let mut world = World::start().await;
    let before = world.resident();
    let neighbour = world.neighbour().await;
    let first = world.pid().await;
    for harmless in ["garbage", "stray", "flood_stderr"] {
        let heard = world.call(harmless).await;
        assert!(heard.error().is_null(), "{harmless}: {heard:?}");
        assert_eq!(world.pid().await, first, "{harmless}: the same process goes on");
    }
    let mut last = first;
    for fatal in ["die", "flood_line", "hang"] {
        let asked = Instant::now();
        let heard = world.call(fatal).await;
        let failed = !heard.error().is_null() || heard.messages.last().unwrap()["result"]["isError"] == json!(true);
        assert!(failed, "{fatal}: {heard:?}");
        assert!(asked.elapsed() < CALL + NEIGHBOUR, "{fatal}: {:?}", asked.elapsed());
        let now = world.pid().await;
        assert_ne!(now, last, "{fatal}: another process");
        last = now;
    }
    // Either it is read to its end, or the program is ended.
    world.call("flood_lines").await;
    world.pid().await;
    let (most, zombies) = (world.most_resident(), world.zombies());
    assert!(most < before + MOST, "{} MiB, and {} before", most >> 20, before >> 20);
    assert_eq!(zombies, 0);
    neighbour.stop().await;
    let log = world.log().await;
    assert!(log.contains("odd"), "nothing was said about the program:\n{log}");
}

struct World {
    _machine: Machine,
    server: Server,
    url: String,
    token: String,
    speaker: Speaker,
    log: Option<JoinHandle<String>>,
}

impl World {
    async fn start() -> Self {
        let machine = Machine::new();
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let (python, odd) = (clients.join(".venv/bin/python"), clients.join("misbehaving.py"));
        let plenty = "\"10000/s burst 10000\"";
        let file = machine.write(
            "portcullis.toml",
            &format!(
                "[server]\ndomain = \"localhost\"\n[tls]\nmode = \"off\"\n\
                 [limits]\nper_ip = {plenty}\nper_user = {plenty}\nper_user_upstream = {plenty}\nper_client = {plenty}\n\
                 [unified]\ncall_timeout = \"{}s\"\n\
                 [[upstream]]\nalias = \"odd\"\ncommand = [\"{}\", \"{}\"]\n\
                 [[upstream]]\nalias = \"well\"\ncommand = [\"{}\", \"demo-stdio\"]\n",
                CALL.as_secs(),
                python.display(),
                odd.display(),
                env!("CARGO_BIN_EXE_portcullis"),
            ),
        );
        let add = ["-c", &file, "user", "add", USER, "--admin", "--password-stdin"];
        let added = machine.run_with_input(&add, &format!("{PASSWORD}\n")).await;
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let mut server = Server::start(machine.command(&["serve", "-c", &file]), "(http").await;
        let log = Some(tokio::spawn(collect(server.child.stderr.take().unwrap())));
        let url = format!("{}/mcp", server.root());
        let token = Client::ready(&url).await.connect().await.access;
        let speaker = Speaker::new(&pool(), &url, &token, Era::Legacy).await;
        Self { _machine: machine, server, url, token, speaker, log }
    }

    async fn call(&self, tool: &str) -> Heard {
        self.speaker.ask(1, "tools/call", json!({"name": format!("odd_{tool}"), "arguments": {}})).await
    }

    /// The process that answers, as soon as there is one.
    async fn pid(&self) -> String {
        let asked = Instant::now();
        loop {
            let heard = self.call("pid").await;
            if let Some(pid) = heard.messages.last().unwrap()["result"]["content"][0]["text"].as_str()
                && pid.parse::<u32>().is_ok()
            {
                return pid.to_owned();
            }
            assert!(asked.elapsed() < RETURN, "it does not come back: {heard:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Somebody who calls another program all the time, in the modern era.
    async fn neighbour(&self) -> Neighbour {
        let speaker = Speaker::new(&pool(), &self.url, &self.token, Era::Modern).await;
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), calls.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let text = format!("call {}", counted.fetch_add(1, Ordering::Relaxed));
                let params = json!({"name": "well_echo", "arguments": {"text": text}});
                let heard = speaker.ask_with(1, "tools/call", params, &[("mcp-param-text", &text)]).await;
                assert_eq!(heard.result("well_echo")["structuredContent"]["text"], json!(text));
                assert!(asked.elapsed() < NEIGHBOUR, "a neighbour waited for {:?}", asked.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Neighbour { stop, calls, task }
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    }

    fn resident(&self) -> u64 {
        self.status("VmRSS")
    }

    fn most_resident(&self) -> u64 {
        self.status("VmHWM")
    }

    /// Children that ended and that nobody has waited for.
    fn zombies(&self) -> usize {
        let parent = format!(" Z {} ", self.server.child.id().unwrap());
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        stats.filter(|stat| stat.contains(&parent)).count()
    }

    async fn log(&mut self) -> String {
        self.server.child.start_kill().unwrap();
        self.log.take().unwrap().await.unwrap()
    }
}

struct Neighbour {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Neighbour {
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        assert!(self.calls.load(Ordering::Relaxed) > 50);
    }
}

async fn collect(stderr: ChildStderr) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut log = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if log.len() < KEPT_LOG {
            log += &format!("{line}\n");
        }
    }
    log
}
