//! Clients of 2026.

use super::client::{Guest, MODERN, modern, request};
use crate::gateway::{Gateway, USER};
use http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn discovery_says_what_there_is() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let answer = guest.modern(&[("mcp-session-id", "whatever")], "server/discover", json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(!answer.headers.contains_key("mcp-session-id"), "sessions mean nothing");
    let result = &answer.message()["result"];
    assert_eq!((&result["resultType"], &result["supportedVersions"]), (&json!("complete"), &json!([MODERN])));
    assert!(result["capabilities"].is_object() && result["ttlMs"].is_u64());
    assert_eq!(result["cacheScope"], "private");
    assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"].is_string());
}

/// Every line of the rules is tried with the parser; this is what of it arrives.
#[tokio::test]
async fn wrong_fields_are_refused_with_their_code_and_status() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let version = ("mcp-protocol-version", MODERN);
    let list = || modern("tools/list", json!({}));
    let strange = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2099-01-01", "io.modelcontextprotocol/clientCapabilities": {},
    } });
    for (fields, message, status, code) in [
        (vec![("mcp-method", "tools/list")], list(), 400, -32020),
        (vec![version], list(), 400, -32020),
        (vec![version, ("mcp-method", "prompts/list")], list(), 400, -32020),
        (vec![("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")], list(), 400, -32020),
        (vec![version, ("mcp-method", "tools/list")], request(1, "tools/list", json!({})), 400, -32602),
        (vec![version, ("mcp-method", "tools/call")], modern("tools/call", json!({ "name": "a" })), 400, -32020),
        (vec![("mcp-protocol-version", "2099-01-01"), ("mcp-method", "x")], request(1, "x", strange), 400, -32022),
        (vec![version, ("mcp-method", "no/such")], modern("no/such", json!({})), 404, -32601),
        (vec![version, ("mcp-method", "ping")], modern("ping", json!({})), 404, -32601),
        (vec![version, ("mcp-method", "initialize")], modern("initialize", json!({})), 404, -32601),
        (vec![version, ("mcp-method", "logging/setLevel")], modern("logging/setLevel", json!({})), 404, -32601),
    ] {
        let answer = guest.post(&fields, &message).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{fields:?} {}", answer.body);
        assert_eq!(answer.message()["id"], 1, "the request is named");
    }
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/x" });
    assert_eq!(guest.post(&[version], &notification).await.status, StatusCode::ACCEPTED);
    assert_eq!(guest.send(Method::GET, &[version], None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_made_up_request_state_of_ours_is_refused() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let params = json!({ "name": "a", "requestState": "portcullis-1.AAAA", "inputResponses": {} });
    let answer = guest.modern(&[("mcp-name", "a")], "tools/call", params).await;
    assert_eq!(answer.code(), -32602, "{}", answer.body);
}
