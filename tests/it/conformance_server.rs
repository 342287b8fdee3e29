//! The official conformance suite against a server of the official SDK, directly and through the gateway: every check of
//! both revisions of the protocol comes out the same.

use crate::gateway::{Gateway, upstream, without_rates};
use crate::shim::Shim;
use crate::suite::{Suite, node};
use portcullis::config::UpstreamAuth;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// What a run may take; alone on a machine it takes three seconds.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often each outcome occurred: scenario, id and name of the check, its status.
pub type Outcomes = BTreeMap<[String; 4], usize>;

#[tokio::test]
async fn revision_2025_11_25_is_the_same_through_the_gateway() {
    let outcomes = same("2025-11-25").await;
    assert_eq!(count(&outcomes, "SUCCESS"), 84, "{outcomes:#?}");
    assert_eq!(count(&outcomes, "FAILURE"), 0, "{outcomes:#?}");
}

#[tokio::test]
async fn revision_2026_07_28_is_the_same_through_the_gateway() {
    let mut outcomes = same("2026-07-28").await;
    // The SDK has no tasks: those scenarios fail with and without the gateway, which is all that they can show.
    outcomes.retain(|[scenario, ..], _| !scenario.starts_with("server-tasks-"));
    assert_eq!(count(&outcomes, "SUCCESS"), 152, "{outcomes:#?}");
    assert_eq!(count(&outcomes, "FAILURE"), 0, "{outcomes:#?}");
}

/// Runs a revision's requirements directly, through the gateway as it comes, and through one that says `keep-alive` at
/// every opportunity.
async fn same(revision: &str) -> Outcomes {
    let server = Server::start().await;
    let (usual, busy) = (server.behind(Duration::from_secs(15)).await, server.behind(Duration::from_millis(5)).await);
    let direct = Shim::direct(server.port).await;
    let usual = Shim::through(&usual, &server.authority()).await;
    let busy = Shim::through(&busy, &server.authority()).await;
    let (direct, usual, busy) = tokio::join!(run(&direct, revision), run(&usual, revision), run(&busy, revision));
    for through in [usual, busy] {
        let (gone, new) = differences(&direct, &through);
        assert!(gone.is_empty() && new.is_empty(), "only directly: {gone:#?}\nonly through the gateway: {new:#?}");
    }
    direct
}

/// What occurred only in the first run, or not as often in the second; and the other way round.
pub fn differences(direct: &Outcomes, through: &Outcomes) -> (Outcomes, Outcomes) {
    let only = |here: &Outcomes, there: &Outcomes| {
        here.iter()
            .filter(|(what, times)| there.get(*what) != Some(times))
            .map(|(what, times)| (what.clone(), *times))
            .collect()
    };
    (only(direct, through), only(through, direct))
}

pub async fn run(shim: &Shim, revision: &str) -> Outcomes {
    let url = format!("http://localhost:{}/mcp", shim.port);
    let mut suite = Suite::start(&["server", "--url", &url, "--requirements", revision]);
    // Its exit status says that something failed, which the checks say better.
    tokio::time::timeout(LIMIT, suite.end()).await.unwrap_or_else(|_| panic!("over {LIMIT:?}: {}", suite.told()));
    let mut outcomes = Outcomes::new();
    for scenario in suite.results() {
        for check in scenario.checks {
            let [id, name, status] = ["id", "name", "status"].map(|field| check[field].as_str().unwrap().to_owned());
            *outcomes.entry([scenario.name.clone(), id, name, status]).or_default() += 1;
        }
    }
    outcomes
}

pub fn count(outcomes: &Outcomes, wanted: &str) -> usize {
    outcomes.iter().filter(|([.., status], _)| status == wanted).map(|(_, times)| times).sum()
}

/// The server under test, in a process that ends with this value.
pub struct Server {
    pub port: u16,
    _child: Child,
}

impl Server {
    pub async fn start() -> Self {
        let mut child = node().arg("server.mjs").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("server.mjs is slow to start").unwrap();
        let ready: Value = serde_json::from_str(&line.expect("server.mjs ended; its error is above")).unwrap();
        Self { port: ready["port"].as_u64().unwrap().try_into().unwrap(), _child: child }
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn behind(&self, heartbeat: Duration) -> Gateway {
        let authority = self.authority();
        Gateway::with(move |config| {
            config.streams.heartbeat = Some(heartbeat);
            without_rates(config);
            config.upstream.push(upstream(&authority, UpstreamAuth::None));
        })
        .await
    }
}
