//! Who is let in, and what the others are told.

use super::client::{Guest, initialize, modern, token};
use crate::client::{Client, send};
use crate::gateway::{Gateway, USER};
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Browser;
use portcullis::devkit::prover::Prover;
use serde_json::json;

#[tokio::test]
async fn strangers_are_told_where_to_sign_in() {
    let gateway = Gateway::start().await;
    let browser = Browser::new().unwrap();
    for (path, metadata) in [("/mcp", "/mcp"), ("/mcp/sse", "/mcp/sse"), ("/mcp/messages", "/mcp/messages")] {
        let page = send(&browser, Method::POST, &format!("{}{path}", gateway.root()), &[], Some("{}".to_owned())).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        let challenge = page.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        let pointer = format!("{}/.well-known/oauth-protected-resource{metadata}", gateway.root());
        assert_eq!(challenge, format!("Bearer resource_metadata=\"{pointer}\""));
    }
    let visit = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let page = send(&browser, Method::GET, &format!("{}/mcp", gateway.root()), &visit, None).await;
    assert_eq!(page.status, StatusCode::OK, "a person is told what it is for");
    assert!(page.text().contains(&format!("{}/mcp", gateway.root())), "{}", page.text());
}

#[tokio::test]
async fn the_whole_flow_leads_in() {
    let gateway = Gateway::start().await;
    let client = Client::ready(&format!("{}/mcp", gateway.root())).await;
    assert_eq!(client.resource, format!("{}/mcp", gateway.root()));
    let tokens = client.connect().await;
    let fields = [
        ("authorization", format!("Bearer {}", tokens.access)),
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json".to_owned()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = initialize("2025-11-25").to_string();
    let page = send(&Browser::new().unwrap(), Method::POST, &client.url, &fields, Some(body)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
}

#[tokio::test]
async fn only_tokens_for_the_endpoint_open_it() {
    let gateway = Gateway::with_upstreams(&["127.0.0.1:1"]).await;
    let guest = Guest::of(&gateway, USER).await;
    let discover = async |guest: &Guest| guest.modern(&[], "server/discover", json!({})).await.status;
    assert_eq!(discover(&guest).await, StatusCode::OK);
    for path in ["/mcp/", "/mcp/sse"] {
        let (token, _) = token(&gateway, USER, "test", path, None).await;
        assert_eq!(discover(&guest.with_token(token)).await, StatusCode::OK, "{path}");
    }
    for path in ["", "/", "/api/v1", "/mcps", "/x/mcp"] {
        let (token, _) = token(&gateway, USER, "test", path, None).await;
        assert_eq!(discover(&guest.with_token(token)).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let (of_upstream, _) = gateway.token_for("127.0.0.1:1").await;
    assert_eq!(discover(&guest.with_token(of_upstream)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(discover(&guest.with_token("garbage".to_owned())).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn b47_a_bound_token_needs_a_proof() {
    let gateway = Gateway::start().await;
    let (key, guest) = (Prover::new().unwrap(), Guest::of(&gateway, USER).await);
    let (bound, _) = token(&gateway, USER, "test", "/mcp", Some(&key.thumbprint())).await;
    let post = async |authorization: String, proof: Option<String>| {
        let body = modern("server/discover", json!({})).to_string();
        let mut fields = vec![
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "server/discover"),
        ];
        fields.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        send(&Browser::new().unwrap(), Method::POST, &guest.url, &fields, Some(body)).await.status
    };
    let proof = || key.proof("POST", &guest.url, Some(&bound), gateway.clock.now());
    assert_eq!(post(format!("Bearer {bound}"), Some(proof())).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(format!("DPoP {bound}"), None).await, StatusCode::UNAUTHORIZED);
    let elsewhere = key.proof("POST", &format!("{}/mcp/sse", gateway.root()), Some(&bound), gateway.clock.now());
    assert_eq!(post(format!("DPoP {bound}"), Some(elsewhere)).await, StatusCode::UNAUTHORIZED);
    let good = proof();
    assert_eq!(post(format!("DPoP {bound}"), Some(good.clone())).await, StatusCode::OK);
    assert_eq!(post(format!("DPoP {bound}"), Some(good)).await, StatusCode::UNAUTHORIZED, "it was used");
}

#[tokio::test]
async fn pages_of_foreign_origins_are_kept_out_and_known_ones_may_read() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let foreign = guest.post(&[("origin", "https://evil.example")], &initialize("2025-11-25")).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let known = guest.post(&[("origin", "https://claude.ai")], &initialize("2025-11-25")).await;
    assert_eq!(known.status, StatusCode::OK);
    assert_eq!(known.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://claude.ai");
    assert!(known.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().contains("Mcp-Session-Id"));
    assert!(known.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    let fields = [("origin", "https://claude.ai"), ("access-control-request-method", "POST")];
    let preflight = guest.send(Method::OPTIONS, &fields, None).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_is_not_there() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    gateway.reload(|config| config.unified.enabled = false).await.unwrap();
    assert_eq!(guest.post(&[], &initialize("2025-11-25")).await.status, StatusCode::NOT_FOUND);
    gateway.reload(|config| config.unified.enabled = true).await.unwrap();
    assert_eq!(guest.post(&[], &initialize("2025-11-25")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn large_messages_are_taken_up_to_their_limit() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let session = guest.initialize().await;
    let ping =
        |size: usize| json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": "x".repeat(size) } });
    let answer = guest.say(&session, &ping((8 << 20) - 200)).await;
    assert_eq!((answer.status, answer.message()["result"].clone()), (StatusCode::OK, json!({})));
    let refused = guest.say(&session, &ping(8 << 20)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(refused.body.contains("8388608"), "{}", refused.body);
    assert_eq!(gateway.app().metrics.kept_bodies.get(), 0, "the memory is given back");
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_words() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let json = ("content-type", "application/json");
    for (fields, body, status, code) in [
        (vec![], "{}", 415, -32000),
        (vec![("content-type", "text/plain")], "{}", 415, -32000),
        (vec![json, ("accept", "text/html")], "{}", 406, -32000),
        (vec![json], "{", 400, -32700),
        (vec![json], "{}", 400, -32600),
        (vec![json], "1", 400, -32600),
        (vec![json], r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600),
        (vec![json], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, 400, -32000),
        (vec![json], "[]", 400, -32000),
        (
            vec![json, ("mcp-protocol-version", "1999-01-01")],
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            400,
            -32000,
        ),
    ] {
        let answer = guest.send(Method::POST, &fields, Some(body.to_owned())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{fields:?} {body}");
    }
    for method in [Method::PUT, Method::PATCH, Method::OPTIONS] {
        let answer = guest.send(method, &[], None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "GET, POST, DELETE");
    }
}
