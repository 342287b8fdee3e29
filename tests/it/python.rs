//! The Python clients that people use, from nothing but the URL to a tool call.

use crate::client::mcp_url;
use crate::clients::Foreign;
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::upstreams::Notes;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test]
async fn the_official_sdk_with_the_demo_upstream() {
    to_the_demo("python_sdk.py").await;
}

#[tokio::test]
async fn fastmcp_with_the_demo_upstream() {
    assert_eq!(to_the_demo("fastmcp_client.py").await["add"], "5");
}

#[tokio::test]
async fn the_official_sdk_with_a_foreign_upstream() {
    through_the_gateway("python_sdk.py").await;
}

#[tokio::test]
async fn fastmcp_with_a_foreign_upstream() {
    assert_eq!(through_the_gateway("fastmcp_client.py").await["add"], "5");
}

async fn to_the_demo(driver: &str) -> Value {
    let notes = Notes::start().await;
    let answer = run(driver, &notes.authority()).await;
    assert!(answer["whoami"].as_str().unwrap().starts_with("You are demo, "), "{answer}");
    assert_eq!(notes.authorization.counters().authorizations, 1);
    answer
}

async fn through_the_gateway(driver: &str) -> Value {
    let upstream = Foreign::start().await;
    let answer = run(driver, &upstream.authority()).await;
    assert_eq!(answer["whoami"], "carol", "the person that the upstream knows, not ours");
    assert!(answer["tools"].as_array().unwrap().contains(&json!("add")), "{answer}");
    assert!(!upstream.seen().await.is_empty());
    answer
}

/// The line of JSON that a driver prints.
async fn run(driver: &str, authority: &str) -> Value {
    let gateway = Gateway::with_upstreams(&[authority]).await;
    run_at(driver, &gateway, &mcp_url(&gateway, authority), &[]).await
}

/// The same for a gateway that is there, with more in the environment.
pub async fn run_at(driver: &str, gateway: &Gateway, url: &str, environment: &[(&str, String)]) -> Value {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = clients.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let complaints = gateway.directory().join("stderr");
    let running = Command::new(python)
        .arg(clients.join(driver))
        .arg(url)
        .envs(environment.iter().cloned())
        .env("GATEWAY_USER", USER)
        .env("GATEWAY_PASSWORD", PASSWORD)
        // Nothing is remembered from elsewhere, and nothing is left there.
        .env("HOME", gateway.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&complaints).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = tokio::time::timeout(LIMIT, running).await;
    let complaints = std::fs::read_to_string(complaints).unwrap();
    let output = output.unwrap_or_else(|_| panic!("{driver} took over {LIMIT:?}\n{complaints}")).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{driver}: {}\n{told}\n{complaints}", output.status);
    let line = told.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{driver}: {error}: {told}\n{complaints}"))
}
