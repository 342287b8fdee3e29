//! Where a request goes: its hostname decides, and nothing else that a caller can write.

use super::{OK, ask, in_front_of, with};
use crate::gateway::USER;
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::unified::client::Guest;
use http::StatusCode;
use portcullis::apikey::{ApiScope, NewApiKey};
use portcullis::config::{Prefixes, Unknown};
use portcullis::hostname::{Authority, Label};
use serde_json::json;

/// Paths that lead elsewhere where somebody decodes them, or makes them simpler.
const ESCAPES: [&str; 20] = [
    "/mcp/../../admin",
    "/../../../etc/passwd",
    "/mcp/%2e%2e/%2e%2e/admin",
    "/%2E%2E/%2e%2e/",
    "/mcp/..%2f..%2fadmin",
    "/mcp/%2e%2e%2f%2e%2e%5cadmin",
    "/mcp/%252e%252e/admin",
    "/mcp/..;/admin",
    "/mcp/.;/..;a=b/admin",
    "/mcp/%c0%ae%c0%ae/admin",
    "/mcp/%00/../admin",
    "//evil.example/mcp",
    "///evil.example",
    "/.//evil.example/mcp",
    "/@evil.example/",
    "/:@evil.example:80/",
    "/mcp?next=../../admin",
    "/mcp/../token",
    "/%74oken",
    "/mcp/..%2f.well-known/oauth-authorization-server",
];

#[tokio::test]
async fn a5_no_spelling_of_a_path_leaves_its_upstream() {
    let (mut notes, other) = (RawUpstream::answering(OK).await, RawUpstream::answering(OK).await);
    let gateway = in_front_of(&[&notes.authority, &other.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (host, elsewhere) = (gateway.host_of(&notes.authority), gateway.host_of(&other.authority));
    for path in ESCAPES {
        // In origin form, and in the form for proxies, whose authority must be the same host's.
        for (target, expected) in [
            (path.to_owned(), 200),
            (format!("http://{host}{path}"), 200),
            (format!("http://{elsewhere}{path}"), 400),
            (format!("http://{host}@{elsewhere}{path}"), 400),
        ] {
            let mut caller = Caller::connect(gateway.port()).await;
            let answered = caller.send(get(&host, &token, &target)).await.status().await;
            assert_eq!(answered, expected, "{target}");
            if expected == 200 {
                let head = notes.received().await.head;
                assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{target}: {head}");
                assert!(head.to_lowercase().contains(&format!("\r\nhost: {}\r\n", notes.authority)), "{head}");
            }
        }
    }
    for target in ["/mcp\\..\\..\\admin x", "mcp", "..", "/mcp#/../admin", "*"] {
        let (answered, head, _) =
            ask(gateway.port(), &[&format!("GET {target} HTTP/1.1"), &format!("Host: {host}")]).await;
        assert!((400..500).contains(&answered), "{target}: {head}");
    }
    assert!(!notes.has_received());
    assert_eq!(other.connections(), 0);
}

/// What could begin another line, another field or another request arrives as it was sent, or not at all.
#[tokio::test]
async fn a6_nothing_of_a_request_becomes_another_line_of_it() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (host, authorization) = (gateway.host_of(&notes.authority), format!("Authorization: Bearer {token}"));
    for target in [
        "/mcp%0d%0aX-Injected:%201",
        "/mcp?a=%0D%0AX-Injected:%201%0d%0a%0d%0aGET%20/%20HTTP/1.1",
        "/mcp?a=b%26c=d%3De",
        "/%0a%09%20HTTP/1.1",
        "/mcp?%00",
        "/%E5%98%8D%E5%98%8AX-Injected:1",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        let (answered, ..) = ask(gateway.port(), &[&line, &format!("Host: {host}"), &authorization]).await;
        assert_eq!(answered, 200, "{target}");
        let seen = notes.received().await;
        assert!(seen.head.starts_with(&format!("{line}\r\n")), "{}", seen.head);
        assert_eq!(seen.field("x-injected"), None, "{}", seen.head);
    }
    for value in
        ["a%0d%0aX-Injected: 1", "=?base64?DQpYLUluamVjdGVkOiAx?=", "\"\\\r", "a\u{b}b\u{c}c", "\u{85}\u{2028}"]
    {
        let fields = [&format!("Host: {host}"), &authorization, &format!("Mcp-Param-City: {value}")];
        let lines = [&["GET /mcp HTTP/1.1"][..], &fields.map(String::as_str)].concat();
        let (answered, ..) = ask(gateway.port(), &lines).await;
        if answered == 200 {
            let seen = notes.received().await;
            assert!(seen.head.contains(value), "{value:?}: {:?}", seen.head);
            assert_eq!(seen.field("x-injected"), None, "{}", seen.head);
        } else {
            assert_eq!(answered, 400, "{value:?}");
        }
    }
    for hostile in [
        "GET /mcp\tHTTP/1.1",
        "GET /mcp x HTTP/1.1",
        "GET /m\u{0}cp HTTP/1.1",
        "GE\u{0}T /mcp HTTP/1.1",
        "GET /mcp HTTP/1.1\r\nX-A: a\u{0}b",
        "GET /mcp HTTP/1.1\r\nX-A: a\rX-Injected: 1",
        "GET /mcp HTTP/1.1\r\nX-A: a\r\n X-Injected: 1",
        "GET /mcp HTTP/1.1\r\nX-A : a",
        "GET /mcp HTTP/1.1\r\nX A: a",
        "GET /mcp HTTP/1.1\r\n: a",
        "GET /mcp HTTP/1.1\r\nX-Injected",
    ] {
        let (answered, ..) = ask(gateway.port(), &[hostile, &format!("Host: {host}"), &authorization]).await;
        assert_eq!(answered, 400, "{hostile:?}");
    }
    assert!(!notes.has_received());
}

/// An identifier that nobody knows leads to nothing, and least of all to everything.
#[tokio::test]
async fn a8_an_unknown_server_is_not_there() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = with(&[&notes.authority], |config| {
        config.upstreams.unknown = Unknown::Deny;
        config.unified.prefix = Prefixes::Always;
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let root = format!("localhost:{}", gateway.port());
    let unknown = Label::encode(&Authority::parse("unknown.example").unwrap()).unwrap();
    let known = gateway.host_of(&notes.authority);
    let (label, _) = known.split_once('.').unwrap();
    for host in [
        format!("{unknown}.{root}"),
        format!("3f2a9c41d7e04b6fa8.{root}"),
        format!("0.{root}"),
        format!("-enc.{root}"),
        format!("{}.{root}", label.replace("-enc", "")),
        format!("x{label}.{root}"),
        format!("{label}.{label}.{root}"),
        format!("work--x{label}.{root}"),
        format!("{label}.{root}.evil.example"),
    ] {
        for request in [post(&host, &token, super::LIST), post(&host, "", ""), get(&host, &token, "/token")] {
            let (head, body) = Caller::connect(gateway.port()).await.send(request).await.response().await;
            assert_eq!(status(&head), 404, "{host}: {head}");
            assert!(!body.contains(&notes.authority), "{host}: {body}");
        }
    }
    let key = NewApiKey { name: "test".to_owned(), scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let key = gateway.app().api_keys.create(&key).await.unwrap().key;
    let authorization = format!("Authorization: Bearer {}", key.expose());
    for path in ["/authorize/3f2a9c41d7e04b6fa8", "/api/v1/upstreams/unknown.example", "/api/v1/upstreams/%2a"] {
        let (answered, head, body) =
            ask(gateway.port(), &[&format!("GET {path} HTTP/1.1"), &format!("Host: {root}"), &authorization]).await;
        assert!([404, 422].contains(&answered), "{path}: {head}{body}");
        assert!(!body.contains(&notes.authority), "{path}: {body}");
    }
    // At the unified endpoint servers are prefixes of names.
    let guest = Guest::of(&gateway, USER).await;
    for name in ["unknown_whoami", "*_whoami", "_whoami", ""] {
        let answer = guest.modern(&[("mcp-name", name)], "tools/call", json!({ "name": name, "arguments": {} })).await;
        let message = answer.message();
        assert!(message.get("error").is_some() || message["result"]["isError"] == true, "{name}: {message}");
    }
    for uri in ["unknown+file:///a", "*+file:///a"] {
        let answer = guest.modern(&[("mcp-name", uri)], "resources/read", json!({ "uri": uri })).await;
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.message().get("error").is_some(), "{uri}: {}", answer.body);
    }
    assert_eq!(notes.connections(), 0, "the known one was asked");
}

/// What stands in a query is no path: it neither opens nor closes anything.
#[tokio::test]
async fn a21_a_query_routes_nothing() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (host, root) = (gateway.host_of(&notes.authority), format!("localhost:{}", gateway.port()));
    for query in [
        "/.well-known/oauth-protected-resource",
        "x=/token",
        "/register",
        "path=/health",
        "&/jwks",
        "/../.well-known/oauth-authorization-server",
        "%2f.well-known/openid-configuration",
        "x/.well-known/openid-configuration",
    ] {
        let target = format!("/mcp?{query}");
        // What is ours is answered without a token; this is not ours.
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(ask(gateway.port(), &[&line, &format!("Host: {host}")]).await.0, 401, "{target}");
        let mut caller = Caller::connect(gateway.port()).await;
        assert_eq!(caller.send(get(&host, &token, &target)).await.status().await, 200, "{target}");
        assert!(notes.received().await.head.starts_with(&format!("{line}\r\n")));
        // And what is ours stays ours.
        let line = format!("GET /jwks?{query}&/mcp HTTP/1.1");
        let (answered, _, body) = ask(gateway.port(), &[&line, &format!("Host: {host}")]).await;
        assert!(answered == 200 && body.contains("\"keys\""), "{line}: {body}");
        for path in ["/connections", "/api/v1/users", "/mcp"] {
            let line = format!("GET {path}?/health&/login&/assets/ HTTP/1.1");
            let answered = ask(gateway.port(), &[&line, &format!("Host: {root}")]).await.0;
            assert!([303, 401].contains(&answered), "{line}: {answered}");
        }
    }
    assert!(!notes.has_received());
}

/// Whatever a caller nominates as hop-by-hop, what we write is there, and it is there once.
#[tokio::test]
async fn a26_nominating_our_own_fields_drops_none_of_them() {
    let mut notes = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: content-security-policy, x-content-type-options, referrer-policy, content-length\r\n\
         Content-Security-Policy: default-src *\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    for nominated in [
        "Authorization",
        "close, authorization, host, content-length",
        "HOST",
        "content-length",
        "transfer-encoding",
        "Connection, connection",
        "traceparent, authorization",
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        let request = post(&host, &token, "{}")
            .replace("\r\nContent-Type", &format!("\r\nConnection: {nominated}\r\nContent-Type"));
        let (head, body) = caller.send(request).await.response().await;
        assert_eq!((status(&head), body.as_str()), (200, "ok"), "{nominated}");
        let policy = field(&head, "content-security-policy");
        assert_eq!(policy.as_deref(), Some("sandbox; default-src 'none'; frame-ancestors 'none'"), "{nominated}");
        assert_eq!(field(&head, "x-content-type-options").as_deref(), Some("nosniff"), "{nominated}");
        let seen = notes.received().await;
        let lines = seen.head.to_lowercase();
        for (name, value) in
            [("authorization", "bearer upstream-secret"), ("host", notes.authority.as_str()), ("content-length", "2")]
        {
            assert_eq!(lines.matches(&format!("\r\n{name}:")).count(), 1, "{nominated}: {lines}");
            assert!(lines.contains(&format!("\r\n{name}: {value}\r\n")), "{nominated}: {lines}");
        }
        assert_eq!(seen.body, b"{}", "{nominated}");
    }
}

/// Nothing that one host answers is ever an answer of another one, though every path and every hint of a cache is the same.
#[tokio::test]
async fn a30_two_hosts_share_no_answer_at_the_same_path() {
    const CACHED: [&str; 2] = [
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=3600, immutable\r\nETag: \"1\"\r\nContent-Length: 3\r\n\r\none",
        "HTTP/1.1 200 OK\r\nCache-Control: public, s-maxage=3600\r\nETag: \"1\"\r\nContent-Length: 3\r\n\r\ntwo",
    ];
    let mut upstreams = [RawUpstream::answering(CACHED[0]).await, RawUpstream::answering(CACHED[1]).await];
    let gateway = in_front_of(&[&upstreams[0].authority, &upstreams[1].authority]).await;
    let mut asked = Vec::new();
    for upstream in &upstreams {
        let (token, _) = gateway.token_for(&upstream.authority).await;
        asked.push((gateway.host_of(&upstream.authority), token));
    }
    let mut caller = Caller::connect(gateway.port()).await;
    for round in 0..20 {
        for (position, said) in [(0, "one"), (1, "two"), (1, "two"), (0, "one")] {
            let (host, token) = &asked[position];
            let (head, body) = caller.send(get(host, token, "/mcp?same=1")).await.response().await;
            assert_eq!((status(&head), body.as_str()), (200, said), "round {round}");
            assert_eq!(
                upstreams[position].received().await.field("host"),
                Some(upstreams[position].authority.as_str())
            );
        }
        // The metadata of a host are its own, at the same path.
        for (host, _) in &asked {
            let line = "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1";
            let (_, body) = caller.send(format!("{line}\r\nHost: {host}\r\n\r\n")).await.response().await;
            assert!(body.contains(&format!("http://{host}/mcp")), "{body}");
            assert!(asked.iter().all(|(other, _)| other == host || !body.contains(other)), "{body}");
        }
    }
    assert!(upstreams.iter_mut().all(|upstream| !upstream.has_received()));
    // A token of the one host at the other one, on the connection that has just served both.
    for (host, token) in [(&asked[0].0, &asked[1].1), (&asked[1].0, &asked[0].1)] {
        assert_eq!(caller.send(get(host, token, "/mcp?same=1")).await.status().await, 401);
    }
}

/// Callers choose no destination: an address in whatever field, parameter or body is only forwarded, or dropped.
#[tokio::test]
async fn a44_no_field_of_a_caller_chooses_where_we_connect_to() {
    let (mut notes, trap) = (RawUpstream::answering(OK).await, RawUpstream::answering(OK).await);
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (host, url) = (gateway.host_of(&notes.authority), format!("http://{}/", trap.authority));
    for name in [
        "X-N8n-Url",
        "X-Upstream-Url",
        "X-Target-Url",
        "X-Mcp-Url",
        "X-Mcp-Server",
        "Mcp-Server-Url",
        "X-Forwarded-Host",
        "X-Forwarded-Server",
        "X-Host",
        "X-Original-Host",
        "X-Original-Url",
        "X-Rewrite-Url",
        "Forwarded",
        "Proxy-Host",
        "Alt-Used",
        "Referer",
        "Destination",
        "X-Forwarded-Uri",
        "X-Envoy-Original-Path",
    ] {
        for value in [url.as_str(), &trap.authority, &format!("host={}", trap.authority)] {
            let mut caller = Caller::connect(gateway.port()).await;
            let request =
                post(&host, &token, "{}").replace("\r\nContent-Type", &format!("\r\n{name}: {value}\r\nContent-Type"));
            assert_eq!(caller.send(request).await.status().await, 200, "{name}: {value}");
            assert_eq!(notes.received().await.field("host"), Some(notes.authority.as_str()), "{name}: {value}");
        }
    }
    for request in [
        post(&host, &token, "{}").replace("POST /mcp", &format!("POST /mcp?url={url}&target={url}")),
        post(&host, &token, &json!({ "url": url, "params": { "url": url, "_meta": { "url": url } } }).to_string()),
    ] {
        assert_eq!(Caller::connect(gateway.port()).await.send(request).await.status().await, 200);
        notes.received().await;
    }
    for request in [
        format!("POST {url}mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"),
        format!("CONNECT {} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n", trap.authority),
        format!("GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", trap.authority),
    ] {
        let answered = Caller::connect(gateway.port()).await.send(request).await.status().await;
        assert!(answered >= 300, "{answered}");
    }
    assert_eq!((trap.connections(), notes.has_received()), (0, false));
}
