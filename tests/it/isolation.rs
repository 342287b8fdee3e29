//! Upstream hosts are siblings of the dashboard's domain: what browsers may do there, and what upstreams may tell them.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, status};
use portcullis::config::UpstreamAuth;

const HOSTILE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: portcullis=evil; Domain=localhost\r\n\
    Clear-Site-Data: \"*\"\r\nAlt-Svc: h3=\":1\"\r\nNEL: {}\r\nReport-To: {}\r\nService-Worker-Allowed: /\r\n\
    Strict-Transport-Security: max-age=1\r\nContent-Security-Policy: default-src *\r\n\
    Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nMcp-Session-Id: s\r\n\
    Content-Length: 5\r\n\r\n<html";

async fn gateway_for(notes: &RawUpstream) -> Gateway {
    let authority = notes.authority.clone();
    Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await
}

fn request(method: &str, host: &str, fields: &str) -> String {
    format!("{method} /mcp HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

#[tokio::test]
async fn hostile_headers_do_not_survive() {
    let notes = RawUpstream::answering(HOSTILE).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let host = gateway.host_of(&notes.authority);
    caller.send(request("GET", &host, &format!("Authorization: Bearer {token}\r\n"))).await;
    let (head, body) = caller.response().await;
    assert_eq!((status(&head), body.as_str()), (200, "<html"));
    for name in [
        "set-cookie",
        "clear-site-data",
        "alt-svc",
        "nel",
        "report-to",
        "service-worker-allowed",
        "strict-transport-security",
        "access-control-allow-origin",
        "access-control-allow-credentials",
    ] {
        assert_eq!(field(&head, name), None, "{name}");
    }
    let policy = field(&head, "content-security-policy").unwrap();
    assert_eq!(policy, "sandbox; default-src 'none'; frame-ancestors 'none'");
    assert_eq!(field(&head, "x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(field(&head, "referrer-policy").as_deref(), Some("no-referrer"));
    assert_eq!(field(&head, "mcp-session-id").as_deref(), Some("s"));
}

#[tokio::test]
async fn a34_pages_of_unknown_origins_get_403_and_known_ones_may_read() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    for (origin, expected) in
        [("https://evil.example", 403), ("null", 403), ("https://claude.ai", 200), ("http://localhost:6274", 200)]
    {
        let fields = format!("Authorization: Bearer {token}\r\nOrigin: {origin}\r\n");
        caller.send(request("GET", &host, &fields)).await;
        let (head, _) = caller.response().await;
        assert_eq!(status(&head), expected, "{origin}");
        let readable = field(&head, "access-control-allow-origin");
        assert_eq!(readable.as_deref(), (expected == 200).then_some(origin));
    }
}

#[tokio::test]
async fn a_preflight_is_answered_by_us_and_without_a_token() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let fields = "Origin: http://localhost:6274\r\nAccess-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: authorization,mcp-protocol-version\r\n";
    caller.send(request("OPTIONS", &gateway.host_of(&notes.authority), fields)).await;
    let (head, _) = caller.response().await;
    assert_eq!(status(&head), 204);
    assert_eq!(field(&head, "access-control-allow-headers").as_deref(), Some("authorization,mcp-protocol-version"));
    assert_eq!(notes.connections(), 0);
}
