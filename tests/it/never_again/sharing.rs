//! What belongs to one person at an upstream that many use: asked for by somebody else, it is asked for as somebody else.

use crate::gateway::{Gateway, USER, upstream, without_rates};
use crate::raw::{Caller, RawUpstream, status};
use http::header;
use parking_lot::Mutex;
use portcullis::config::{PersonalHeader, UpstreamAuth};
use portcullis::connect::ConnectionKey;
use portcullis::hostname::Authority;
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const PEOPLE: [&str; 2] = [USER, "bob"];

/// A server that keeps tasks and sessions by the key that they were begun with, as it should.
async fn server(seen: Arc<Mutex<Vec<BTreeSet<String>>>>) -> RawUpstream {
    RawUpstream::start(move |number, mut connection| {
        let seen = seen.clone();
        async move {
            while let Some(head) = connection.request_head().await {
                let value = |name: &str| crate::raw::field(&head, name).unwrap_or_default();
                let key = value("x-api-key");
                {
                    let mut seen = seen.lock();
                    if seen.len() <= number {
                        seen.resize(number + 1, BTreeSet::new());
                    }
                    seen[number].insert(key.clone());
                }
                let (owner, what) = (key.trim_start_matches("key-of-"), value("mcp-session-id"));
                let asked = if what.is_empty() { value("mcp-name") } else { what };
                let (line, body) = match asked.ends_with(&format!("-of-{owner}")) {
                    true => ("200 OK", json!({ "jsonrpc": "2.0", "id": 1, "result": { "told": asked, "to": owner } })),
                    false => (
                        "404 Not Found",
                        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32602, "message": "no" } }),
                    ),
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {line}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                connection.send(answer).await;
            }
        }
    })
    .await
}

async fn give(gateway: &Gateway, authority: &str, name: &str) {
    let app = gateway.app();
    let user = app.store.user_by_name(name).await.unwrap().unwrap().id;
    let upstream = app.registry.by_authority(&Authority::parse(authority).unwrap()).unwrap();
    let key = ConnectionKey::upstream(user, upstream.authority.clone(), None);
    let secret = Secret::new(format!("key-of-{name}"));
    let given = app.connections.personal_credentials().with(&key, &upstream, &[("x-api-key", &secret)]).await.unwrap();
    app.store.replace_connection(&given).await.unwrap();
}

/// Tasks and sessions at a proxied upstream: the upstream is told who asks by the credential of whoever asks, on a connection
/// that serves nobody else, so what it does not give to others it does not give to others here.
#[tokio::test]
async fn a36_a37_somebody_else_s_task_or_session_is_asked_for_as_somebody_else() {
    let keys: Arc<Mutex<Vec<BTreeSet<String>>>> = Arc::default();
    let notes = server(keys.clone()).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        let name = header::HeaderName::from_static("x-api-key");
        let auth = UpstreamAuth::Personal(PersonalHeader { name, prefix: String::new() });
        config.upstream.push(upstream(&authority, auth));
    })
    .await;
    gateway.add("bob").await;
    let host = gateway.host_of(&notes.authority);
    let mut tokens = Vec::new();
    for name in PEOPLE {
        give(&gateway, &notes.authority, name).await;
        tokens.push(gateway.token_of(name, &notes.authority).await.0);
    }
    // One connection for both: whose it is is decided request by request.
    let mut caller = Caller::connect(gateway.port()).await;
    for round in 0..10 {
        for (token, person) in tokens.iter().zip(PEOPLE) {
            for owner in PEOPLE {
                for (method, field) in
                    [("tasks/get", "Mcp-Name"), ("tasks/result", "Mcp-Name"), ("ping", "Mcp-Session-Id")]
                {
                    let wanted = format!("thing-of-{owner}");
                    let message =
                        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "taskId": wanted } });
                    let body = message.to_string();
                    let forged = PEOPLE.map(|name| format!("X-Api-Key: key-of-{name}\r\n")).concat();
                    let head = format!(
                        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{field}: {wanted}\r\n{forged}\
                         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let (head, body) = caller.send(head).await.response().await;
                    let answer: Value = serde_json::from_str(&body).unwrap();
                    if owner == person {
                        assert_eq!((status(&head), &answer["result"]["to"]), (200, &json!(person)), "{round} {method}");
                    } else {
                        assert_eq!((status(&head), answer.get("result")), (404, None), "{round} {method} {body}");
                    }
                }
            }
        }
    }
    let keys = keys.lock();
    assert!(
        keys.len() >= PEOPLE.len() && keys.iter().all(|of_one| of_one.len() == 1),
        "a connection was shared: {keys:?}"
    );
}
