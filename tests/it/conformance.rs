//! The official MCP conformance suite against our authorization servers: the one of an MCP hostname, and the root's.

use crate::client::{alice, get_json, mcp_url, send};
use crate::gateway::Gateway;
use crate::upstreams::{Notes, anywhere};
use http::{Method, StatusCode};
use portcullis::devkit::browser::Browser;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

const LIMIT: Duration = Duration::from_secs(60);

/// What the suite checked when this was written; it may learn more.
const CHECKS: [&str; 3] =
    ["authorization-code-grant", "authorization-server-metadata", "authorization-server-metadata-cimd"];

#[tokio::test]
async fn the_issuer_of_an_mcp_hostname_conforms() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let resource = mcp_url(&gateway, &notes.authority());
    conforms(&gateway.url_of(&notes.authority()), Some(&resource)).await;
}

#[tokio::test]
async fn the_issuer_of_an_mcp_hostname_conforms_for_clients_that_name_no_resource() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    conforms(&gateway.url_of(&notes.authority()), None).await;
}

#[tokio::test]
async fn the_root_issuer_conforms() {
    let gateway = Gateway::start().await;
    conforms(&gateway.root(), None).await;
}

async fn conforms(issuer: &str, resource: Option<&str>) {
    let browser = Browser::new().unwrap();
    let port = TcpListener::bind(anywhere()).await.unwrap().local_addr().unwrap().port();
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let client_id = register(&browser, issuer, &redirect_uri).await;
    let port = port.to_string();
    let mut arguments = vec!["--url", issuer, "--client-id", &client_id, "--port", &port];
    arguments.extend(resource.iter().flat_map(|resource| ["--resource", resource]));

    let mut suite = Suite::start(&arguments);
    let run = async {
        let start = suite.authorization_url().await;
        let callback = browser.authorize(&start, &alice(), &redirect_uri).await;
        let callback = callback.unwrap_or_else(|why| panic!("{why}\n{}", suite.told()));
        let page = send(&browser, Method::GET, &callback.url, &[], None).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        suite.end().await
    };
    let status = tokio::time::timeout(LIMIT, run).await.unwrap_or_else(|_| panic!("the suite took over {LIMIT:?}"));
    assert!(status.success(), "{status}: {}", suite.told());

    let checks = suite.checks();
    for check in &checks {
        assert_eq!(check["status"], "SUCCESS", "{check:#}\n{}", suite.told());
    }
    let ids: BTreeSet<&str> = checks.iter().map(|check| check["id"].as_str().unwrap()).collect();
    assert!(ids.is_superset(&CHECKS.into()), "{ids:?}");
}

async fn register(browser: &Browser, issuer: &str, redirect_uri: &str) -> String {
    let metadata = get_json(browser, &format!("{issuer}/.well-known/oauth-authorization-server")).await;
    let endpoint = metadata["registration_endpoint"].as_str().unwrap();
    let client = json!({
        "client_name": "Conformance",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
    });
    let headers = [("content-type", "application/json")];
    let page = send(browser, Method::POST, endpoint, &headers, Some(client.to_string())).await;
    assert_eq!(page.status, StatusCode::CREATED, "{}", page.body);
    serde_json::from_str::<Value>(&page.body).unwrap()["client_id"].as_str().unwrap().to_owned()
}

/// The running suite; killed when this is dropped.
struct Suite {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    directory: TempDir,
}

impl Suite {
    fn start(arguments: &[&str]) -> Self {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
        // The suite needs Node 22, which is newer than what distributions have.
        let node = home.join("node_modules/node/bin/node");
        assert!(node.exists(), "{} is missing: run `make deps`", node.display());
        let directory = TempDir::new().unwrap();
        let complaints = std::fs::File::create(directory.path().join("stderr")).unwrap();
        let mut child = Command::new(node)
            .args(["--import", "./localhost.mjs", "node_modules/@modelcontextprotocol/conformance/dist/index.js"])
            .args(["authorization", "--output-dir"])
            .arg(directory.path().join("results"))
            .args(arguments)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: Vec::new(), directory }
    }

    /// What it asks a person to open, once it listens for the answer.
    async fn authorization_url(&mut self) -> String {
        let (mut listening, mut url) = (false, None);
        while !listening || url.is_none() {
            let Some(line) = self.line().await else { panic!("the suite asked for nothing: {}", self.told()) };
            listening |= line.starts_with("Callback server started");
            url = url.or_else(|| line.starts_with("http").then_some(line));
        }
        url.unwrap()
    }

    async fn end(&mut self) -> ExitStatus {
        while self.line().await.is_some() {}
        self.child.wait().await.unwrap()
    }

    async fn line(&mut self) -> Option<String> {
        let line = self.lines.next_line().await.unwrap();
        self.seen.extend(line.clone());
        line
    }

    /// The checks of all scenarios that it ran.
    fn checks(&self) -> Vec<Value> {
        let scenarios = self.seen.iter().filter(|line| line.starts_with("=== Running scenario")).count();
        let results: Vec<PathBuf> = std::fs::read_dir(self.directory.path().join("results"))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("checks.json"))
            .collect();
        assert!(scenarios >= 2 && results.len() == scenarios, "{results:?}: {}", self.told());
        let read = |path: &PathBuf| -> Vec<Value> { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        results.iter().flat_map(read).collect()
    }

    fn told(&self) -> String {
        let complaints = std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        format!("{}\n{complaints}", self.seen.join("\n"))
    }
}
