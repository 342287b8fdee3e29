//! The official conformance suite at the unified endpoint with one upstream behind it, where nothing is renamed: every check of both
//! revisions comes out as it does at the upstream itself, but for what the two tables below give a reason for.

use crate::conformance_server::{LIMIT, Outcomes, Server, differences, run};
use crate::gateway::{Gateway, USER, configured, token_at, without_rates};
use crate::process::Machine;
use crate::shim::Shim;
use portcullis::hostname::{Label, Realm};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// A scenario, a check's id in it (empty: all of them), and why it comes out differently.
type Reasons<'a> = &'a [(&'a str, &'a str, &'a str)];

/// A request may be answered with JSON as well as with a stream (2025-11-25, Transports, Sending Messages, 5), and streams need not be
/// resumable. The fixture always answers with one that is; the endpoint answers with JSON as long as nothing is said before the answer.
const NO_STREAM: &str = "the endpoint answers with JSON where nothing comes before the answer";
/// Ids of tasks are the endpoint's and belong to one person: one that it never gave out is refused by it, as the check wants. The fixture
/// takes any.
const OWN_TASKS: &str = "the endpoint refuses ids of tasks that it did not give out";
const AT_THE_ENDPOINT: Reasons = &[
    ("server-server-sse-polling", "", NO_STREAM),
    ("server-server-sse-multiple-streams", "", NO_STREAM),
    ("server-tasks-dispatch-and-envelope", "sep-2663-tasks-get-invalid-task-id-32602", OWN_TASKS),
];
/// The same, and what the SDK's server does otherwise when it has no HTTP around it.
const OVER_STDIO: Reasons = AT_THE_ENDPOINT;

#[tokio::test]
async fn revision_2025_11_25_over_http() {
    over_http("2025-11-25").await;
}

#[tokio::test]
async fn revision_2026_07_28_over_http() {
    over_http("2026-07-28").await;
}

#[tokio::test]
async fn revision_2025_11_25_over_stdio() {
    over_stdio("2025-11-25").await;
}

#[tokio::test]
async fn revision_2026_07_28_over_stdio() {
    over_stdio("2026-07-28").await;
}

async fn over_http(revision: &str) {
    let server = Server::start().await;
    let upstream = format!("[[upstream]]\ndomain = \"{}\"\npath = \"/mcp\"\nauth = \"none\"\n", server.authority());
    let gateway = gateway(upstream).await;
    let (direct, unified) = (Shim::direct(server.port).await, at_the_endpoint(&gateway).await);
    let (direct, unified) = tokio::join!(run(&direct, revision), run(&unified, revision));
    assert_same("the unified endpoint", &direct, &unified, AT_THE_ENDPOINT);
}

/// The same server as a program: at the unified endpoint, at the hostname of its alias, and through `portcullis bridge`.
async fn over_stdio(revision: &str) {
    let (server, command) = (Server::start().await, stdio_command());
    // Two gateways: of two clients of one person at one process, nobody could tell whom its log messages are for.
    let program = || gateway(format!("[[upstream]]\nalias = \"fixture\"\ncommand = {command:?}\n"));
    let (gateway, other) = tokio::join!(program(), program());
    let bridge = Bridge::start(&command).await;
    let alias = at_the_alias(&other, "fixture").await;
    let (direct, unified) = (Shim::direct(server.port).await, at_the_endpoint(&gateway).await);
    let bridged = Shim::direct(bridge.port).await;
    let (direct, unified, alias, bridged) =
        tokio::join!(run(&direct, revision), run(&unified, revision), run(&alias, revision), run(&bridged, revision));
    for (through, outcomes) in [("the unified endpoint", unified), ("its alias", alias), ("the bridge", bridged)] {
        assert_same(through, &direct, &outcomes, OVER_STDIO);
    }
}

fn assert_same(about: &str, direct: &Outcomes, through: &Outcomes, reasons: Reasons<'_>) {
    let (mut gone, mut new) = differences(direct, through);
    for found in [&mut gone, &mut new] {
        found.retain(|[scenario, id, ..], _| {
            !reasons.iter().any(|(of, check, _)| of == scenario && (check.is_empty() || check == id))
        });
    }
    assert!(gone.is_empty() && new.is_empty(), "only directly: {gone:#?}\nonly through {about}: {new:#?}");
}

async fn gateway(upstream: String) -> Gateway {
    Gateway::with(move |config| {
        without_rates(config);
        config.upstream = configured(&upstream).upstream;
    })
    .await
}

async fn at_the_endpoint(gateway: &Gateway) -> Shim {
    let token = gateway.root_token_of(USER).await;
    Shim::with_token(gateway, &format!("{}/mcp", gateway.root()), &token).await
}

async fn at_the_alias(gateway: &Gateway, alias: &str) -> Shim {
    let label = Label::parse(alias).unwrap();
    let url = format!("{}/mcp", gateway.app().site.origin_of(&label));
    let token = token_at(gateway.app(), USER, &Realm::Mcp(label), None).await.0;
    Shim::with_token(gateway, &url, &token).await
}

/// The fixture on standard input and output.
fn stdio_command() -> [String; 3] {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let [node, script] = ["node_modules/node/bin/node", "server.mjs"].map(|path| home.join(path).display().to_string());
    [node, script, "--stdio".to_owned()]
}

/// `portcullis bridge`; it ends with this value.
struct Bridge {
    port: u16,
    _child: Child,
    _machine: Machine,
}

impl Bridge {
    async fn start(command: &[String]) -> Self {
        let machine = Machine::new();
        let mut arguments = vec!["bridge", "--listen", "127.0.0.1:0", "--"];
        arguments.extend(command.iter().map(String::as_str));
        let mut child = machine.command(&arguments).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the bridge ended; its error is above");
                let rest = line.split("127.0.0.1:").nth(1).unwrap_or_default();
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if let Ok(port) = digits.parse() {
                    return port;
                }
            }
        };
        let port = tokio::time::timeout(LIMIT, port).await.expect("the bridge says no address");
        Self { port, _child: child, _machine: machine }
    }
}
