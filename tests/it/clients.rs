//! Official MCP clients that this project did not write complete OAuth through the gateway and call tools; so does an
//! upstream whose server and authorization server come from elsewhere. The drivers are in `tests/clients`.

use crate::client::mcp_url;
use crate::gateway::{Gateway, PASSWORD, USER, label, upstream};
use crate::upstreams::Notes;
use portcullis::config::{Tls, UpstreamAuth};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// What a driver may take, sign-in included; most take about two seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn typescript_sdk_1_with_a_foreign_upstream() {
    let told = through_the_gateway("ts-v1.mjs").await;
    assert_eq!((&told["refreshed"], &told["protocol"]), (&json!(true), &json!("2025-11-25")), "{told}");
}

#[tokio::test]
async fn typescript_sdk_2_with_a_foreign_upstream() {
    let told = through_the_gateway("ts-v2.mjs").await;
    assert_eq!((&told["refreshed"], &told["protocol"]), (&json!(true), &json!("2026-07-28")), "{told}");
}

#[tokio::test]
async fn mcp_remote_with_a_foreign_upstream() {
    through_the_gateway("mcp-remote.mjs").await;
}

#[tokio::test]
async fn typescript_sdk_1_with_the_demo_upstream() {
    let told = to_the_demo("ts-v1.mjs").await;
    assert_eq!((&told["refreshed"], &told["protocol"]), (&json!(true), &json!("2025-11-25")), "{told}");
}

#[tokio::test]
async fn typescript_sdk_2_with_the_demo_upstream() {
    let told = to_the_demo("ts-v2.mjs").await;
    assert_eq!((&told["refreshed"], &told["protocol"]), (&json!(true), &json!("2026-07-28")), "{told}");
}

#[tokio::test]
async fn mcp_remote_with_the_demo_upstream() {
    to_the_demo("mcp-remote.mjs").await;
}

#[tokio::test]
async fn typescript_sdk_2_steps_up() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let driver = "ts-v2-step-up.mjs";
    let told = drive(node(driver), driver, &mcp_url(&gateway, &notes.authority())).await;
    assert_eq!(told["written"], "written");
    assert_eq!((&told["before"], &told["authorizations"]), (&json!(1), &json!(2)), "{told}");
    assert_eq!(told["scope"], "notes.read notes.write offline_access");
}

/// The same drivers without a gateway: when one of the others fails, this says whose fault it is.
#[tokio::test]
async fn every_client_works_without_the_gateway() {
    let upstream = Foreign::start().await;
    for driver in ["ts-v1.mjs", "ts-v2.mjs", "mcp-remote.mjs"] {
        let told = drive(node(driver), driver, &upstream.mcp).await;
        assert_eq!((&told["whoami"], &told["echo"]), (&json!("carol"), &json!(ECHO)), "{driver}");
        let bearers = told["bearers"].as_array().unwrap();
        let seen = upstream.seen().await;
        assert!(
            bearers.iter().all(|token| seen.contains(&token.as_str().unwrap().to_owned())),
            "{driver}: `/seen` works"
        );
    }
}

/// What the drivers say to `echo`.
const ECHO: &str = "Grüße, 世界";

async fn through_the_gateway(driver: &str) -> Value {
    let upstream = Foreign::start().await;
    let front = Front::of(driver, &upstream.authority()).await;
    let told = front.drive(driver, &upstream.authority()).await;
    assert_eq!(told["tools"], json!(["whoami", "echo", "add"]));
    assert_eq!(told["whoami"], "carol", "the person that the upstream knows, not ours");
    assert_eq!(told["echo"], ECHO);
    assert_sides_apart(&told, &upstream.seen().await);
    told
}

async fn to_the_demo(driver: &str) -> Value {
    let notes = Notes::start().await;
    let front = Front::of(driver, &notes.authority()).await;
    let told = front.drive(driver, &notes.authority()).await;
    assert!(told["tools"].as_array().unwrap().contains(&json!("whoami")), "{told}");
    assert!(told["whoami"].as_str().unwrap().contains("demo"), "{told}");
    assert_eq!(told["echo"], ECHO);
    assert_sides_apart(&told, &notes.mcp.control.recorder().bearers());
    told
}

/// A gateway, and the certificate that its clients are to trust when it speaks TLS.
struct Front {
    gateway: Gateway,
    certificate: Option<(PathBuf, TempDir)>,
}

impl Front {
    /// Plain HTTP as on one's own machine, except for the client that refuses it.
    async fn of(driver: &str, authority: &str) -> Self {
        if driver == "mcp-remote.mjs" {
            return Self::with_tls(authority).await;
        }
        Self { gateway: Gateway::with_upstreams(&[authority]).await, certificate: None }
    }

    async fn with_tls(authority: &str) -> Self {
        // Node takes no `*.localhost`: a wildcard needs two labels after it.
        let names = ["localhost".to_owned(), format!("{}.localhost", label(authority))];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = TempDir::new().unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let tls = Tls::Files { cert: cert.clone(), key };
        let authority = authority.to_owned();
        let gateway = Gateway::with(move |config| {
            config.tls = tls.clone();
            config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
        });
        Self { gateway: gateway.await, certificate: Some((cert, directory)) }
    }

    async fn drive(&self, driver: &str, authority: &str) -> Value {
        let mut command = node(driver);
        if let Some((certificate, _)) = &self.certificate {
            command.env("NODE_EXTRA_CA_CERTS", certificate);
        }
        drive(command, driver, &mcp_url(&self.gateway, authority)).await
    }
}

/// Neither side has a token of the other's: the driver tells those that it got, the upstream those that it was sent.
fn assert_sides_apart(told: &Value, seen: &[String]) {
    let ours: Vec<&str> = told["bearers"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert!(!ours.is_empty() && !seen.is_empty(), "{ours:?} {seen:?}");
    for bearer in seen {
        assert!(bearer != "spoiled" && !ours.contains(&bearer.as_str()), "the upstream got a caller's token: {bearer}");
    }
}

/// Runs a driver against an MCP URL, and returns the line of JSON that it prints.
pub async fn drive(mut command: Command, driver: &str, url: &str) -> Value {
    command.arg(url).env("GATEWAY_USER", USER).env("GATEWAY_PASSWORD", PASSWORD).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut told = String::new();
    let everything =
        async { tokio::join!(child.wait(), stdout.read_to_string(&mut told), retell(driver.to_owned(), stderr)) };
    let (status, read, ()) =
        timeout(PATIENCE, everything).await.unwrap_or_else(|_| panic!("{driver} {url} took more than {PATIENCE:?}"));
    let (status, _) = (status.unwrap(), read.unwrap());
    assert!(status.success(), "{driver} {url}: {status}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{driver} {url}: {error}: {told:?}"))
}

/// An MCP server and an authorization server from npm, in a process of their own that ends with this value.
pub struct Foreign {
    pub mcp: String,
    _child: Child,
}

impl Foreign {
    pub async fn start() -> Self {
        let mut child = node("upstream.mjs").stdin(Stdio::piped()).spawn().unwrap();
        tokio::spawn(retell("upstream.mjs".to_owned(), child.stderr.take().unwrap()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("upstream.mjs is slow to start").unwrap();
        let ready: Value = serde_json::from_str(&line.expect("upstream.mjs ended; its error is above")).unwrap();
        Self { mcp: ready["mcp"].as_str().unwrap().to_owned(), _child: child }
    }

    pub fn authority(&self) -> String {
        self.mcp.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap().to_owned()
    }

    /// Every bearer token that the MCP server was sent.
    pub async fn seen(&self) -> Vec<String> {
        let browser = portcullis::devkit::browser::Browser::new().unwrap();
        let seen = crate::client::get_json(&browser, &format!("http://{}/seen", self.authority())).await;
        serde_json::from_value(seen).unwrap()
    }
}

/// Says what a child says, in the test's own name: shown when the test fails, and only then.
#[allow(clippy::print_stderr)]
pub async fn retell(name: String, stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{name}: {line}");
    }
}

/// `node` with a script of `tests/clients`, not yet started.
pub fn node(script: &str) -> Command {
    let directory = clients();
    let mut command = Command::new("node");
    command.arg("--import").arg(directory.join("localhost.mjs")).arg(directory.join(script));
    command.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn clients() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(directory.join("node_modules").is_dir(), "tests/clients/node_modules is missing: run `make deps`");
    directory
}
