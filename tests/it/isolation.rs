//! Upstream hosts are siblings of the dashboard's domain: what browsers may do there, and what upstreams may tell them.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, status};
use portcullis::config::UpstreamAuth;

const HOSTILE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: portcullis=evil; Domain=localhost\r\n\
    Clear-Site-Data: \"*\"\r\nAlt-Svc: h3=\":1\"\r\nNEL: {}\r\nReport-To: {}\r\nService-Worker-Allowed: /\r\nX-Accel-Redirect: /internal\r\n\
    WWW-Authenticate: Bearer resource_metadata=\"https://evil.example/\"\r\n\
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
        "x-accel-redirect",
        "www-authenticate",
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

#[tokio::test]
async fn a_preflight_tells_a_page_all_that_it_needs_and_no_other_page_anything() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    let host = gateway.host_of(&notes.authority);
    let preflight = |origin: &str| {
        let fields = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: DELETE\r\nAccess-Control-Request-Private-Network: true\r\n"
        );
        request("OPTIONS", &host, &fields)
    };
    let mut caller = Caller::connect(gateway.port()).await;
    let (head, _) = caller.send(preflight("http://127.0.0.1:6274")).await.response().await;
    assert_eq!(status(&head), 204);
    assert_eq!(field(&head, "access-control-allow-origin").as_deref(), Some("http://127.0.0.1:6274"));
    assert_eq!(field(&head, "access-control-allow-private-network").as_deref(), Some("true"));
    assert_eq!(field(&head, "access-control-allow-credentials"), None);
    assert_eq!(field(&head, "vary").as_deref(), Some("Origin"));
    assert!(field(&head, "access-control-allow-methods").unwrap().contains("DELETE"));
    let exposed = field(&head, "access-control-expose-headers").unwrap().to_lowercase();
    for name in ["www-authenticate", "mcp-session-id", "mcp-protocol-version", "retry-after"] {
        assert!(exposed.contains(name), "{name}");
    }
    let (head, _) = caller.send(preflight("https://evil.example")).await.response().await;
    assert_eq!(status(&head), 403);
    assert!(!head.to_lowercase().contains("access-control-allow"), "{head}");
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn pages_read_our_refusals_too() {
    let notes = RawUpstream::answering("HTTP/1.1 500 Oops\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    for (fields, expected) in [
        ("Origin: http://localhost:6274\r\n".to_owned(), 401),
        (format!("Origin: http://localhost:6274\r\nAuthorization: Bearer {token}\r\n"), 500),
        (format!("Origin: http://localhost:6274\r\nAuthorization: Bearer {token}\r\nService-Worker: script\r\n"), 403),
    ] {
        let (head, _) = caller.send(request("GET", &host, &fields)).await.response().await;
        assert_eq!(status(&head), expected, "{fields}");
        assert_eq!(
            field(&head, "content-security-policy").unwrap(),
            "sandbox; default-src 'none'; frame-ancestors 'none'"
        );
        assert_eq!(field(&head, "set-cookie"), None);
        let readable = field(&head, "access-control-allow-origin").as_deref() == Some("http://localhost:6274");
        assert_eq!(readable, expected != 403, "{head}");
    }
}

#[tokio::test]
async fn scripts_of_service_workers_are_refused() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    for field in ["Service-Worker: script", "Sec-Fetch-Dest: serviceworker"] {
        let fields = format!("Authorization: Bearer {token}\r\n{field}\r\n");
        caller.send(request("GET", &gateway.host_of(&notes.authority), &fields)).await;
        assert_eq!(caller.status().await, 403, "{field}");
    }
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn answers_without_body_interim_ones_and_trailers_carry_nothing_hostile() {
    let notes = RawUpstream::answering(
        "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=hints\r\nLink: </x>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n\
         Set-Cookie: a=head\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n0\r\n\
         Set-Cookie: a=trailer\r\nClear-Site-Data: \"*\"\r\n\r\n",
    )
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(request("GET", &host, &format!("Authorization: Bearer {token}\r\nConnection: close\r\n"))).await;
    let all = caller.rest().await.to_lowercase();
    assert!(all.starts_with("http/1.1 200") && all.ends_with("2\r\nok\r\n0\r\n\r\n"), "{all}");
    for name in ["set-cookie", "clear-site-data", "link:", "trailer"] {
        assert!(!all.contains(name), "{name} in {all}");
    }

    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nSet-Cookie: a=head\r\nContent-Length: 5\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let fields = format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    caller.send(request("HEAD", &gateway.host_of(&notes.authority), &fields)).await;
    let all = caller.rest().await.to_lowercase();
    assert!(all.starts_with("http/1.1 200") && all.contains("content-security-policy: sandbox"), "{all}");
    assert!(!all.contains("set-cookie"), "{all}");
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\n\r\n";

#[tokio::test]
async fn websockets_are_isolated_alike() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send(SWITCHING).await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    for (origin, expected) in [("https://evil.example", 403), ("null", 403), ("http://localhost:6274", 101)] {
        let fields = format!("Authorization: Bearer {token}\r\nOrigin: {origin}\r\n{UPGRADE}");
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(request("GET", &host, &fields)).await;
        let head = caller.until("\r\n\r\n").await;
        assert_eq!(status(&head), expected, "{origin}");
        assert_eq!(field(&head, "set-cookie"), None);
        assert!(field(&head, "access-control-allow-origin").is_none_or(|allowed| allowed == origin), "{head}");
        assert!(field(&head, "content-security-policy").unwrap().starts_with("sandbox"));
    }
    assert_eq!(notes.connections(), 1);
}

#[tokio::test]
async fn an_upstream_cannot_make_a_tunnel_of_a_request() {
    let notes = RawUpstream::answering(SWITCHING).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let fields = format!("Authorization: Bearer {token}\r\n");
    caller.send(request("GET", &gateway.host_of(&notes.authority), &fields)).await;
    assert_eq!(caller.status().await, 502);
}

#[tokio::test]
async fn an_upstream_redirects_to_itself_on_our_hostname_and_never_sees_the_page() {
    let mut notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        let itself = connection.stream.local_addr().unwrap();
        connection
            .send(format!("HTTP/1.1 307 Away\r\nLocation: http://{itself}/mcp/\r\nContent-Length: 0\r\n\r\n"))
            .await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let fields = format!(
        "Authorization: Bearer {token}\r\nOrigin: http://localhost:6274\r\nSec-Fetch-Site: cross-site\r\nX_Real_Ip: 1\r\n"
    );
    caller.send(request("GET", &gateway.host_of(&notes.authority), &fields)).await;
    let (head, _) = caller.response().await;
    assert_eq!(field(&head, "location").as_deref(), Some("/mcp/"));
    let seen = notes.received().await;
    for name in ["origin", "sec-fetch-site", "x_real_ip", "cookie"] {
        assert_eq!(seen.field(name), None, "{name}");
    }
}
