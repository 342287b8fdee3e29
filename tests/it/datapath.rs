//! Requests through the gateway to upstreams made of raw TCP: framing, repetition, hygiene, refusals.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use portcullis::config::{Rate, UpstreamAuth};
use portcullis::secret::Secret;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}"#;

/// A gateway in front of one upstream that wants a fixed header.
async fn in_front_of(authority: &str) -> Gateway {
    let authority = authority.to_owned();
    Gateway::with(move |config| {
        let name = http::header::AUTHORIZATION;
        let value = Secret::new("Bearer upstream-secret".to_owned());
        config.upstream.push(upstream(&authority, UpstreamAuth::Header { name, value }));
    })
    .await
}

#[tokio::test]
async fn b56_the_upstream_gets_its_own_credential_and_nothing_of_ours() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let host = gateway.host_of(&notes.authority);
    caller
        .send(format!(
            "POST /mcp?x=1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nCookie: portcullis=1\r\n\
             X-Forwarded-For: 1.2.3.4\r\nX_Forwarded_User: root\r\nMcp-Param-City: =?base64?xyz?=\r\n\
             Mcp-Session-Id: s1\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\n{{}}"
        ))
        .await;
    assert_eq!(caller.status().await, 200);
    let seen = notes.received().await;
    assert!(seen.head.starts_with("POST /mcp?x=1 HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.field("authorization"), Some("Bearer upstream-secret"));
    assert_eq!(seen.field("host"), Some(notes.authority.as_str()));
    assert_eq!(seen.field("mcp-session-id"), Some("s1"));
    assert_eq!(seen.field("mcp-param-city"), Some("=?base64?xyz?="));
    for absent in ["cookie", "x-forwarded-for", "x_forwarded_user", "x-hop", "connection"] {
        assert_eq!(seen.field(absent), None, "{absent}");
    }
    assert!(!seen.head.contains(&token));
    assert_eq!(seen.body, b"{}");
}

#[tokio::test]
async fn b51_b52_no_token_and_wrong_tokens_are_challenged() {
    let notes = RawUpstream::answering(OK).await;
    let other = RawUpstream::answering(OK).await;
    let gateway = Gateway::with_upstreams(&[&notes.authority, &other.authority]).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).await;
    let (head, body) = caller.response().await;
    assert_eq!(status(&head), 401);
    let challenge = field(&head, "www-authenticate").unwrap();
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.url_of(&notes.authority));
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{metadata}\""));
    assert!(body.contains("\"jsonrpc\":\"2.0\""), "{body}");

    let (foreign, _) = gateway.token_for(&other.authority).await;
    let tampered = format!("{}x", gateway.token_for(&notes.authority).await.0);
    for token in [foreign.as_str(), tampered.as_str(), "x", "' OR 1=1 --"] {
        caller.send(post(&host, token, LIST)).await;
        let (head, _) = caller.response().await;
        assert_eq!(status(&head), 401, "{token}");
        assert!(field(&head, "www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    assert_eq!((notes.connections(), other.connections()), (0, 0));
}

#[tokio::test]
async fn b50_a_token_in_the_query_string_is_none() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(format!("GET /mcp?access_token={token} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(caller.status().await, 401);
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn an_expired_token_and_a_revoked_grant_are_refused_at_once() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let (token, grant) = gateway.token_for(&notes.authority).await;
    let (second, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    gateway.app().lives.end(grant);
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 401);
    assert_eq!(caller.send(post(&host, &second, LIST)).await.status().await, 200);
    gateway.clock.advance(Duration::from_secs(3601));
    assert_eq!(caller.send(post(&host, &second, LIST)).await.status().await, 401);
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_is_repeated_unless_it_calls_a_tool() {
    // Answers one request on each connection and closes when the second one arrives.
    let mut notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send(OK).await;
        connection.request().await;
    })
    .await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200, "asking is repeated");
    assert_eq!(caller.send(post(&host, &token, CALL)).await.status().await, 502, "a tool call is not");
    let mut calls = 0;
    while notes.has_received() {
        calls += usize::from(notes.received().await.body == CALL.as_bytes());
    }
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn what_arrives_during_an_answer_is_the_next_request() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let notes = RawUpstream::start(move |_, mut connection| {
        let mut gate = gate.clone();
        async move {
            while connection.request().await.is_some() {
                let _ = gate.wait_for(|open| *open).await;
                connection.send(OK).await;
            }
        }
    })
    .await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&host, &token, LIST)).await;
    while notes.connections() == 0 {
        tokio::task::yield_now().await;
    }
    caller.send(post(&host, &token, LIST)).await.send(post(&host, &token, LIST)).await;
    release.send(true).unwrap();
    for _ in 0..3 {
        assert_eq!(caller.status().await, 200);
    }
}

#[tokio::test]
async fn the_control_plane_does_not_eat_bytes_of_the_next_request() {
    let gateway = Gateway::start().await;
    let mut caller = Caller::connect(gateway.port()).await;
    let health = format!("GET /health HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port());
    for _ in 0..50 {
        caller.send(&health).await.send(&health).await;
        assert_eq!(caller.response().await.1, r#"{"status":"ok"}"#);
        assert_eq!(caller.response().await.1, r#"{"status":"ok"}"#);
    }
}

#[tokio::test]
async fn bodies_pass_whole_whatever_their_framing() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    for size in [1, 65_535, 65_536, 65_537, 300_000] {
        let body = "x".repeat(size);
        assert_eq!(caller.send(post(&host, &token, &body)).await.status().await, 200);
        let seen = notes.received().await;
        assert_eq!(seen.body.len(), size);
        assert_eq!(seen.field("content-length"), Some(size.to_string().as_str()));
    }
    caller
        .send(format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        ))
        .await;
    assert_eq!(caller.status().await, 200);
    let seen = notes.received().await;
    assert_eq!((seen.body.as_slice(), seen.field("content-length")), (&b"abcde"[..], Some("5")), "all of it was there");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.server.max_body = 1000;
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&host, &token, &"x".repeat(1001))).await;
    let (head, _) = caller.response().await;
    assert_eq!((status(&head), field(&head, "connection")), (413, None), "small: read away");
    caller.send(post(&host, &token, "").replace("Length: 0", "Length: 99999")).await;
    let (head, _) = caller.response().await;
    assert_eq!((status(&head), field(&head, "connection").as_deref()), (413, Some("close")));
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502_and_one_that_never_answers_a_504() {
    let gone = RawUpstream::answering(OK).await.authority.clone();
    let silent = RawUpstream::start(|_, mut connection| async move { connection.closed().await }).await;
    let authorities = [gone.clone(), silent.authority.clone()];
    let gateway = Gateway::with(move |config| {
        config.streams.response_timeout = Duration::from_millis(200);
        for authority in &authorities {
            config.upstream.push(upstream(authority, UpstreamAuth::None));
        }
    })
    .await;
    for (authority, expected) in [(&gone, 502), (&silent.authority, 504)] {
        let (token, _) = gateway.token_for(authority).await;
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(post(&gateway.host_of(authority), &token, LIST)).await;
        let (head, body) = caller.response().await;
        assert_eq!(status(&head), expected);
        assert!(body.contains("upstream"), "{body}");
    }
    let counted = gateway.app().metrics.encode();
    assert!(counted.contains("portcullis_upstream_failures_total 2"), "{counted}");
}

#[tokio::test]
async fn a_hostname_that_leads_nowhere_is_refused_in_the_words_of_mcp() {
    let gateway = Gateway::start().await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&format!("garbage-enc.localhost:{}", gateway.port()), "x", LIST)).await;
    let (head, body) = caller.response().await;
    assert_eq!(status(&head), 404);
    assert!(body.contains("\"jsonrpc\":\"2.0\""), "{body}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    })
    .await;
    let gateway = in_front_of(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(&notes.authority), &token, LIST)).await;
    let answer = caller.rest().await;
    assert!(answer.contains("abc") && !answer.contains("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_upstream_s_own_errors_pass_unchanged() {
    const ERROR: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n\
                         {\"error\":{\"code\":-32022},\"id\":1}";
    let notes = RawUpstream::answering(ERROR).await;
    let gateway = in_front_of(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(&notes.authority), &token, LIST)).await;
    let (head, body) = caller.response().await;
    assert_eq!((status(&head), body.as_str()), (400, "{\"error\":{\"code\":-32022},\"id\":1}"));
}

#[tokio::test]
async fn a16_a20_a29_malformed_requests_are_refused_before_anything_else() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let root = format!("localhost:{}", gateway.port());
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: {host}/?#\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: a@{host}\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {root}\r\n\r\n"), 400),
        (format!("GET /#x HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400),
        (format!("POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: identity\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(70_000)), 431),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 404),
        (format!("GET / HTTP/1.1\r\nHost: garbage-enc.{root}\r\n\r\n"), 404),
        (format!("GET / HTTP/1.1\r\nHost: no-such-alias.{root}\r\n\r\n"), 404),
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(&request).await;
        assert_eq!(caller.status().await, expected, "{}", &request[..request.len().min(120)]);
    }
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn a27_doubtful_framing_ends_the_connection() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller
        .send(format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ))
        .await;
    let answers = caller.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert!(answers.contains("connection: close") || answers.contains("Connection: close"), "{answers}");
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_and_an_idle_connection_is_closed() {
    let gateway = Gateway::start().await;
    let mut dripping = Caller::connect(gateway.port()).await;
    dripping.send("GET / HTTP/1.1\r\nHo").await;
    let mut idle = Caller::connect(gateway.port()).await;
    idle.send(format!("GET /health HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port())).await;
    assert_eq!(idle.status().await, 200);
    // From here on the clock of the timers jumps to the next one whenever nothing else happens.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    let mut nothing = [0; 1];
    let mut stream = dripping.into_stream();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut stream, &mut nothing).await.unwrap_or(0), 0);
    assert!(before.elapsed() <= Duration::from_secs(11), "{:?}", before.elapsed());
    let mut stream = idle.into_stream();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut stream, &mut nothing).await.unwrap_or(0), 0);
    assert!(before.elapsed() <= Duration::from_secs(76), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_head_request_gets_a_head() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    let gateway = in_front_of(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&host, &token, "/mcp").replace("GET", "HEAD")).await;
    let head = caller.until("\r\n\r\n").await;
    assert_eq!((status(&head), field(&head, "content-length").as_deref()), (200, Some("5")));
    caller.send(get(&host, &token, "/mcp").replace("GET", "HEAD")).await;
    assert_eq!(status(&caller.until("\r\n\r\n").await), 200, "the connection goes on");
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_again() {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.limits.per_user = Rate { count: 1, period: Duration::from_secs(3600), burst: 2 };
        config.limits.token_endpoint = Rate { count: 1, period: Duration::from_secs(3600), burst: 1 };
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let host = gateway.host_of(&notes.authority);
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    let (head, body) = caller.send(post(&host, &token, LIST)).await.response().await;
    assert_eq!(status(&head), 429);
    let seconds: u64 = field(&head, "retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert!(field(&head, "ratelimit").unwrap().starts_with("\"per_user\";r=0;t="), "{head}");
    assert!(field(&head, "ratelimit-policy").is_some() && body.contains("jsonrpc"), "{body}");

    let form = "POST /token HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 0\r\n\r\n"
        .replace("HOST", &host);
    assert_eq!(caller.send(&form).await.status().await, 401, "no client");
    let (head, body) = caller.send(&form).await.response().await;
    assert_eq!(status(&head), 429);
    assert!(field(&head, "retry-after").is_some() && body.contains("temporarily_unavailable"), "{body}");
}
