//! The official MCP conformance suite against our authorization servers: the one of an MCP hostname, and the root's.

use crate::client::{alice, get_json, mcp_url, send};
use crate::gateway::Gateway;
use crate::suite::Suite;
use crate::upstreams::{Notes, anywhere};
use http::{Method, StatusCode};
use portcullis::devkit::browser::Browser;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::net::TcpListener;

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
    let mut arguments = vec!["authorization", "--url", issuer, "--client-id", &client_id, "--port", &port];
    arguments.extend(resource.iter().flat_map(|resource| ["--resource", resource]));

    let mut suite = Suite::start(&arguments);
    let run = async {
        let start = authorization_url(&mut suite).await;
        let callback = browser.authorize(&start, &alice(), &redirect_uri).await;
        let callback = callback.unwrap_or_else(|why| panic!("{why}\n{}", suite.told()));
        let page = send(&browser, Method::GET, &callback.url, &[], None).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        suite.end().await
    };
    let status = tokio::time::timeout(LIMIT, run).await.unwrap_or_else(|_| panic!("the suite took over {LIMIT:?}"));
    assert!(status.success(), "{status}: {}", suite.told());

    let scenarios = suite.results();
    assert!(scenarios.len() >= 2, "{}", suite.told());
    let checks: Vec<&Value> = scenarios.iter().flat_map(|scenario| &scenario.checks).collect();
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

/// What the suite asks a person to open, once it listens for the answer.
async fn authorization_url(suite: &mut Suite) -> String {
    let (mut listening, mut url) = (false, None);
    while !listening || url.is_none() {
        let Some(line) = suite.line().await else { panic!("the suite asked for nothing: {}", suite.told()) };
        listening |= line.starts_with("Callback server started");
        url = url.or_else(|| line.starts_with("http").then_some(line));
    }
    url.unwrap()
}
