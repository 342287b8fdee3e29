//! kosoku, the successor of Autobahn's test suite, against a WebSocket server from elsewhere, directly and through the
//! gateway: the same verdict in every case.

use crate::gateway::{Gateway, upstream, without_rates};
use crate::shim::Shim;
use portcullis::config::UpstreamAuth;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What the short run may take; alone on a machine it takes four seconds.
const LIMIT: Duration = Duration::from_secs(180);
/// What the full run may take; on a machine of its own it takes some ten minutes.
const FULL_LIMIT: Duration = Duration::from_secs(3600);

/// How often a case that differs is tried again.
const ATTEMPTS: usize = 3;

/// Case to verdicts: of the messages, and of the closing handshake.
type Verdicts = BTreeMap<String, [String; 2]>;

/// Without the large messages (9) and with little of compression (12, 13), which take minutes.
#[tokio::test]
async fn every_case_is_the_same_through_the_gateway() {
    let cases = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.1.1", "12.2.6", "13.3.1"];
    let verdicts = same(&cases, LIMIT).await;
    assert!(verdicts.len() >= 250, "{} cases", verdicts.len());
}

/// All of them, or those in `KOSOKU_CASES`: `make kosoku`.
#[tokio::test]
#[ignore = "takes minutes"]
async fn every_case_of_the_full_suite_is_the_same_through_the_gateway() {
    #[allow(clippy::disallowed_methods)] // a test has no configuration
    let chosen = std::env::var("KOSOKU_CASES").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split_whitespace().collect();
    let verdicts = same(&chosen, FULL_LIMIT).await;
    assert!(!chosen.is_empty() || verdicts.len() >= 517, "{} cases", verdicts.len());
}

async fn same(cases: &[&str], limit: Duration) -> Verdicts {
    let echo = Echo::start().await;
    let authority = format!("127.0.0.1:{}", echo.port);
    let gateway = gateway_for(&authority).await;
    let (direct, through) = (Shim::direct(echo.port).await, Shim::through(&gateway, &authority).await);
    let (mut without, mut with) = tokio::join!(run(&direct, cases, limit), run(&through, cases, limit));
    assert!(without.keys().eq(with.keys()), "other cases: {with:?}");
    // A case gives the server a second, or a minute for a thousand messages, however busy the machine is, and fails without
    // the gateway as well as with it. One that differs is tried again; what the gateway changes stays different.
    for _ in 0..ATTEMPTS {
        let differing = differing(&without, &with);
        if differing.is_empty() {
            break;
        }
        let cases: Vec<&str> = differing.iter().map(String::as_str).collect();
        without.extend(run(&direct, &cases, limit).await);
        with.extend(run(&through, &cases, limit).await);
    }
    if let Some(case) = differing(&without, &with).first() {
        panic!("case {case} is {:?}, and through the gateway {:?}", without[case], with[case]);
    }
    let good = without.values().filter(|[messages, _]| messages == "OK").count();
    assert!(good * 10 > without.len() * 9, "only {good} of {} cases are worth comparing", without.len());
    without
}

fn differing(without: &Verdicts, with: &Verdicts) -> Vec<String> {
    without.iter().filter(|(case, verdict)| with.get(*case) != Some(*verdict)).map(|(case, _)| case.clone()).collect()
}

async fn run(shim: &Shim, cases: &[&str], limit: Duration) -> Verdicts {
    let address = format!("localhost:{}", shim.port);
    let output = python("websocket_fuzzer.py").arg(address).args(cases).output();
    let output = tokio::time::timeout(limit, output).await.unwrap_or_else(|_| panic!("over {limit:?}")).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaints}"))
}

async fn gateway_for(authority: &str) -> Gateway {
    let authority = authority.to_owned();
    Gateway::with(move |config| {
        without_rates(config);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await
}

/// A WebSocket server that says everything again, in a process that ends with this value.
struct Echo {
    port: u16,
    _child: Child,
}

impl Echo {
    async fn start() -> Self {
        let mut child = python("websocket_echo.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("websocket_echo.py is slow").unwrap();
        Self { port: line.expect("websocket_echo.py ended; its error is above").parse().unwrap(), _child: child }
    }
}

/// Python with a script of `tests/clients`, not yet started.
fn python(script: &str) -> Command {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = clients.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let mut command = Command::new(python);
    command.arg(clients.join(script)).kill_on_drop(true);
    command
}
