//! Sessions outlive the process that began them, and belong to all nodes.

use super::client::{Guest, request};
use crate::gateway::{Gateway, USER};
use crate::postgres::Cluster;
use http::{Method, StatusCode};
use portcullis::hostname::Scheme;
use portcullis::secret::Secret;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_session_goes_on_after_a_restart() {
    let gateway = Gateway::start().await;
    gateway.add("bob").await;
    let (guest, bob) = (Guest::of(&gateway, USER).await, Guest::of(&gateway, "bob").await);
    let session = guest.initialize().await;
    let gateway = gateway.restart().await;
    let ping = request(2, "ping", json!({}));
    assert_eq!(guest.say(&session, &ping).await.message()["result"], json!({}));
    assert_eq!(bob.say(&session, &ping).await.status, StatusCode::NOT_FOUND);
    let stored = gateway.kept();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(!stored.iter().any(|(_, bytes)| text(bytes).contains(&session)), "only its digest is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_belongs_to_all_nodes() {
    let url = Cluster::shared().empty().await;
    let first = Gateway::with(move |config| config.store.url = Secret::new(url.clone())).await;
    let public = first.port();
    let second = first.another(move |config| config.server.public = Some((Scheme::Http, public))).await;
    let here = Guest::of(&first, USER).await;
    let session = here.initialize().await;
    // The second node answers under the name of the first.
    let ping = request(2, "ping", json!({})).to_string();
    let fields = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Mcp-Session-Id", session.as_str()),
    ];
    let at_second = async |method: &str, body: &str| {
        let (_, head) = here.open(second.port(), method, "/mcp", &fields, body).await;
        crate::raw::status(&head)
    };
    assert_eq!(at_second("POST", &ping).await, 200);
    assert_eq!(at_second("DELETE", "").await, 204);
    assert_eq!(at_second("POST", &ping).await, 404);
    first.clock.advance(Duration::from_secs(6));
    assert_eq!(here.say(&session, &request(3, "ping", json!({}))).await.status, StatusCode::NOT_FOUND);
    let delete = [("mcp-session-id", session.as_str())];
    assert_eq!(here.send(Method::DELETE, &delete, None).await.status, StatusCode::NOT_FOUND);
}
