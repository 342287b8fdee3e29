//! Real processes that are killed (SIGKILL) at every step of a refresh, one after the other on the same database: whatever
//! one leaves behind, the next one takes up. `make crash` runs many more cycles than `make test`.
//!
//! The processes are this test binary again, running the one test that is ignored otherwise.

use super::node::{Installation, Node};
use super::rotator::{Replay, Rotator};
use super::*;
use crate::checkpoints::Step;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

/// `Swapped` comes twice: what the process before left in the spool, and what the process got itself.
const STEPS: [Step; 9] = [
    Step::Began,
    Step::Intended,
    Step::Answered,
    Step::Deleted,
    Step::Written,
    Step::Spooled,
    Step::Swapped,
    Step::Intended,
    Step::Swapped,
];
const ORDERS: &str = "PORTCULLIS_TEST_CHILD";
const CYCLES: &str = "PORTCULLIS_CRASH_CYCLES";

/// How a process ended.
#[derive(Debug, PartialEq)]
enum End {
    Killed,
    Said(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_step_loses_nothing_with_a_forgiving_server() {
    let place = Place::new(Replay::Forgiven).await;
    let cycles = cycles();
    for cycle in 0..cycles {
        let step = STEPS[cycle % STEPS.len()];
        assert_eq!(place.process(cycle, Some(step)).await, End::Killed, "{step:?}");
        if cycle % STEPS.len() == STEPS.len() - 1 {
            assert_eq!(place.process(cycle, None).await, End::Said(format!("at-{}", place.rotator.newest())));
        }
    }
    let last = place.process(cycles, None).await;
    assert_eq!(last, End::Said(format!("at-{}", place.rotator.newest())));
    assert_eq!(place.rotator.refusals(), 0);
    let runs = cycles + cycles / STEPS.len() + 1;
    assert!(place.rotator.calls() <= runs, "{} calls in {runs} runs", place.rotator.calls());
    println!("{cycles} processes killed, {} calls, 0 connections lost", place.rotator.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_only_an_answer_that_no_disk_has_seen_with_a_strict_server() {
    let place = Place::new(Replay::Fatal).await;
    let (cycles, mut lost) = (cycles(), 0);
    for cycle in 0..cycles {
        let step = STEPS[cycle % STEPS.len()];
        assert_eq!(place.process(cycle, Some(step)).await, End::Killed, "{step:?}");
        if step != Step::Answered {
            continue;
        }
        let End::Said(error) = place.process(cycle, None).await else { panic!("killed without reason") };
        assert!(error.starts_with("needs consent: an earlier renewal was cut off"), "{error}");
        lost += 1;
        assert_eq!(place.rotator.refusals(), lost);
        let calls = place.rotator.calls();
        assert_eq!(place.process(cycle, None).await, End::Said(error));
        assert_eq!(place.rotator.calls(), calls, "a connection that has ended is left alone");
        place.node.connect(place.rotator.consent()).await;
    }
    let last = place.process(cycles, None).await;
    assert_eq!(last, End::Said(format!("at-{}", place.rotator.newest())));
    assert_eq!(lost, (cycles + STEPS.len() - 3) / STEPS.len());
    println!("{cycles} processes killed, {lost} in the one window that cannot be closed, none of the others lost");
}

/// What one process does.
#[test]
#[ignore = "only as the child of other tests"]
fn child() {
    #[allow(clippy::disallowed_methods)]
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: serde_json::Value = serde_json::from_str(&orders).unwrap();
    let text = |name: &str| orders[name].as_str().unwrap().to_owned();
    let installation = Installation {
        url: text("url"),
        vault_key: text("vault_key"),
        authority: text("authority"),
        user: text("user").parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let node = installation.open(Some(Path::new(&text("spool")))).await;
        match orders["do"].as_str().unwrap() {
            "refresh" => refresh(node, &orders).await,
            "fill the disk" => database_trouble::fill_the_disk(node).await,
            other => panic!("{other}"),
        }
    });
}

async fn refresh(node: Node, orders: &serde_json::Value) {
    node.clock.advance(Duration::from_secs(orders["later"].as_u64().unwrap()));
    let fatal = orders["step"].as_str().map(str::to_owned);
    node.at_each_step(Box::new(move |step| {
        if fatal.as_deref() == Some(&format!("{step:?}")) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        Box::pin(std::future::ready(()))
    }));
    // What is in the spool comes first, so that a process is never killed for it in the middle of a call.
    node.connections.adopt().await.unwrap();
    node.connections.settle().await;
    let said = match node.credential().await {
        Ok(credential) => credential.access_token().unwrap().to_owned(),
        Err(NoCredential::NeedsConsent) => format!("needs consent: {}", node.row().await.last_error.unwrap()),
        Err(other) => format!("{other:?}"),
    };
    node.connections.settle().await;
    println!("said: {said}");
}

struct Place {
    rotator: Arc<Rotator>,
    installation: Installation,
    directory: tempfile::TempDir,
    node: Node,
}

impl Place {
    async fn new(replay: Replay) -> Self {
        let rotator = Rotator::start(replay).await;
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/portcullis.db", directory.path().display());
        let installation = Installation::new(url, &rotator.authority);
        let node = installation.open(None).await;
        node.connect(0).await;
        Self { rotator, installation, directory, node }
    }

    /// One process asks for the credential, so much later that the last one has expired.
    async fn process(&self, cycle: usize, step: Option<Step>) -> End {
        let later = (cycle + 1) * 20_000 + usize::from(step.is_none()) * 10_000;
        let step = step.map(|step| format!("{step:?}"));
        let orders = serde_json::json!({ "do": "refresh", "step": step, "later": later });
        let output = run(&self.installation, &self.directory.path().join("spool"), orders).await;
        match output.status.signal() {
            Some(9) => End::Killed,
            _ => End::Said(said(&output).pop().unwrap()),
        }
    }
}

/// Runs a process of the installation.
pub(super) async fn run(installation: &Installation, spool: &Path, orders: serde_json::Value) -> std::process::Output {
    let mut orders = orders;
    orders["url"] = installation.url.clone().into();
    orders["vault_key"] = installation.vault_key.clone().into();
    orders["authority"] = installation.authority.clone().into();
    orders["user"] = installation.user.to_string().into();
    orders["spool"] = spool.display().to_string().into();
    tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connect::tests::crashing::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ORDERS, orders.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

/// The lines that a process said.
pub(super) fn said(output: &std::process::Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    // The harness may have begun the line.
    let said: Vec<_> = text.lines().filter_map(|line| Some(line.split_once("said: ")?.1.to_owned())).collect();
    assert!(!said.is_empty(), "{:?}: {text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    said
}

fn cycles() -> usize {
    #[allow(clippy::disallowed_methods)]
    let given = std::env::var(CYCLES).ok();
    given.map_or(54, |text| text.parse().unwrap())
}
