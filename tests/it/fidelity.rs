//! What passes through the gateway passes as it is: targets, fields, bodies and framing of every kind.

use crate::gateway::Gateway;
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::streams::gateway_for;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A caller, a gateway, and an upstream that answers what it is told to.
struct Asking {
    notes: RawUpstream,
    answer: Arc<Mutex<String>>,
    gateway: Gateway,
    host: String,
    token: String,
    caller: Caller,
}

impl Asking {
    /// With an upstream that gives this answer.
    async fn answered(answer: &str) -> Self {
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let told = answer.clone();
        let notes = RawUpstream::start(move |_, mut connection| {
            let told = told.clone();
            async move {
                while connection.request().await.is_some() {
                    let answer = told.lock().clone();
                    connection.send(answer).await;
                }
            }
        })
        .await;
        Self { answer, ..Self::of(notes, Duration::from_millis(10)).await }
    }

    /// With an upstream of its own mind.
    async fn of(notes: RawUpstream, heartbeat: Duration) -> Self {
        let gateway = gateway_for(&notes, heartbeat).await;
        let (token, _) = gateway.token_for(&notes.authority).await;
        let host = gateway.host_of(&notes.authority);
        let caller = Caller::connect(gateway.port()).await;
        Self { notes, answer: Arc::default(), gateway, host, token, caller }
    }

    /// Sends a request without a body: its line, and fields that each end with CR LF.
    async fn ask(&mut self, line: &str, fields: &str) {
        let Self { host, token, .. } = self;
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{fields}\r\n");
        self.caller.send(head).await;
    }
}

/// Whether a field is there with exactly this value; the case of names means nothing (RFC 9110 §5.1).
fn has_line(head: &str, name: &str, value: &str) -> bool {
    head.split("\r\n").filter_map(|line| line.split_once(": ")).any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
}

#[tokio::test]
async fn targets_and_fields_reach_the_upstream_byte_for_byte() {
    let mut asking = Asking::answered("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    const FIELDS: [(&str, &str); 11] = [
        ("accept", "application/json, text/event-stream;q=0.9"),
        ("accept-encoding", "gzip, br;q=0.5, zstd"),
        ("content-type", "application/json; charset=\"utf-8\""),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?R3LDvMOfZQ==?="),
        ("mcp-param-region", "us west \t 1;\"x\""),
        ("mcp-param-region", "a second of the same name"),
        ("mcp-param-ort", "Gr\u{fc}\u{df}e \u{4e16}"),
        ("mcp-session-id", "!~|{}0123456789abcdef"),
        ("last-event-id", "stream/7:{\"a\": 1}"),
    ];
    let fields: String = FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    for target in ["/mcp", "/mcp?a=%20&b=+&c", "/a%2Fb//c/./d/../e;x=1?q=?/", "/%C3%BC?%FF", "/?", "/mcp/"] {
        for method in ["GET", "DELETE", "PATCH", "REPORT"] {
            asking.ask(&format!("{method} {target}"), &fields).await;
            assert_eq!(asking.caller.status().await, 202, "{method} {target}");
            let seen = asking.notes.received().await;
            assert!(seen.head.starts_with(&format!("{method} {target} HTTP/1.1\r\n")), "{}", seen.head);
            for (name, value) in FIELDS {
                assert!(has_line(&seen.head, name, value), "{name}: {value:?} in {:?}", seen.head);
            }
        }
    }
}

#[tokio::test]
async fn answers_reach_the_caller_byte_for_byte() {
    const FIELDS: &str = "Mcp-Session-Id: !~|{}0123\r\nMCP-Protocol-Version: 2025-11-25\r\nContent-Encoding: gzip\r\n\
        ETag: W/\"1\"\r\nCache-Control: no-cache, no-transform\r\nLink: </a>; rel=x\r\nLink: </b>; rel=y\r\n\
        X-Ort: Gr\u{fc}\u{df}e\r\nRetry-After: 7\r\nWWW-Something: \"a, b\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    const BODY: &str = "\u{1f}\u{8b}\u{8}\0{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32020}}\n\r\n\0";
    let mut asking = Asking::answered("").await;
    for code in [200, 201, 206, 300, 400, 402, 404, 405, 406, 409, 410, 413, 415, 418, 422, 429, 500, 501, 503, 599] {
        *asking.answer.lock() =
            format!("HTTP/1.1 {code} Any Reason\r\n{FIELDS}Content-Length: {}\r\n\r\n{BODY}", BODY.len());
        asking.ask("GET /mcp", "").await;
        let (head, body) = asking.caller.response().await;
        assert_eq!((status(&head), body.as_str()), (code, BODY));
        for line in FIELDS.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert!(has_line(&head, name, value), "{name}: {value:?} in {head:?}");
        }
    }
    assert_eq!(asking.notes.connections(), 1);
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let mut asking = Asking::answered("").await;
    for (line, response, expected) in [
        ("GET /mcp", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", 204),
        ("GET /mcp", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nX: 1\r\n\r\n", 304),
        ("GET /mcp", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nX: 1\r\nContent-Length: 5\r\n\r\n", 304),
        ("GET /mcp", "HTTP/1.1 202 Accepted\r\nX: 1\r\nContent-Length: 0\r\n\r\n", 202),
        ("HEAD /mcp", "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", 200),
        ("HEAD /mcp", "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\n", 200),
        ("HEAD /mcp", "HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("HEAD /mcp", "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Type: text/event-stream\r\n\r\n", 200),
        ("HEAD /mcp", "HTTP/1.1 405 Method Not Allowed\r\nX: 1\r\nContent-Length: 5\r\n\r\n", 405),
        ("DELETE /mcp", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", 204),
    ] {
        for _ in 0..2 {
            *asking.answer.lock() = response.to_owned();
            asking.ask(line, "").await;
            let head = asking.caller.until("\r\n\r\n").await;
            assert_eq!((status(&head), field(&head, "x").as_deref()), (expected, Some("1")), "{line} {response:?}");
            *asking.answer.lock() = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext".to_owned();
            asking.ask("GET /next", "").await;
            let (head, body) = asking.caller.response().await;
            assert_eq!((status(&head), body.as_str()), (200, "next"), "{line} {response:?}: {head}");
        }
    }
    assert_eq!(asking.notes.connections(), 1);
}

/// Frameworks that add a slash to a path redirect to the name that they were called by: the upstream's.
#[tokio::test]
async fn a_redirect_of_the_upstream_to_itself_stays_on_our_hostname() {
    let mut asking = Asking::answered("").await;
    let authority = asking.notes.authority.clone();
    for (location, expected) in [
        (format!("http://{authority}/mcp/?a=1"), "/mcp/?a=1".to_owned()),
        ("/mcp/".to_owned(), "/mcp/".to_owned()),
        ("https://elsewhere.example/mcp/".to_owned(), "https://elsewhere.example/mcp/".to_owned()),
    ] {
        for code in [201, 301, 302, 303, 307, 308] {
            *asking.answer.lock() =
                format!("HTTP/1.1 {code} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            asking.ask("POST /mcp", "Content-Length: 0\r\n").await;
            let (head, _) = asking.caller.response().await;
            assert_eq!((status(&head), field(&head, "location")), (code, Some(expected.clone())));
        }
    }
}

#[tokio::test]
async fn interim_answers_and_trailers_do_not_disturb_the_answer() {
    let mut asking = Asking::answered("").await;
    for response in [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2;ext=1\r\n{}\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    ] {
        *asking.answer.lock() = response.to_owned();
        for _ in 0..3 {
            asking.caller.send(post(&asking.host, &asking.token, "{\"id\":1}")).await;
            let (head, body) = asking.caller.response().await;
            assert_eq!((status(&head), body.as_str()), (200, "{}"), "{response:?}");
            assert_eq!(field(&head, "trailer"), None, "{response:?}");
        }
    }
    assert_eq!(asking.notes.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_ends_there() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
        connection.send("data: 2\n\n").await;
    })
    .await;
    let mut asking = Asking::of(notes, Duration::from_secs(60)).await;
    for _ in 0..2 {
        asking.ask("GET /mcp", "").await;
        let (head, body) = asking.caller.response().await;
        assert_eq!((status(&head), body.as_str()), (200, "data: 1\n\ndata: 2\n\n"));
    }
}

/// An event stream whose answer begins like this and pauses for some heartbeats between two parts.
async fn pausing(head: &'static str, parts: [&'static str; 2]) -> Asking {
    let notes = RawUpstream::start(move |_, mut connection| async move {
        while connection.request().await.is_some() {
            connection.send(head).await;
            connection.send(parts[0]).await;
            tokio::time::sleep(Duration::from_millis(60)).await; // a dozen heartbeats
            connection.send(parts[1]).await;
        }
    })
    .await;
    Asking::of(notes, Duration::from_millis(5)).await
}

#[tokio::test]
async fn heartbeats_do_not_eat_into_an_event_stream_of_known_length() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 27\r\n\r\n";
    let mut asking = pausing(HEAD, ["data: 1\n\n", "data: 2\n\ndata: 3\n\n"]).await;
    for _ in 0..2 {
        asking.ask("GET /mcp", "").await;
        let (head, body) = asking.caller.response().await;
        assert!(body.contains(": keep-alive\n\n"), "{head}{body}");
        assert_eq!(body.replace(": keep-alive\n\n", ""), "data: 1\n\ndata: 2\n\ndata: 3\n\n", "{head}");
    }
    // An old caller knows the end by the end of the connection.
    let request = get(&asking.host, &asking.token, "/mcp").replace("HTTP/1.1", "HTTP/1.0");
    let mut caller = Caller::connect(asking.gateway.port()).await;
    let answer = caller.send(request).await.rest().await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body.replace(": keep-alive\n\n", ""), "data: 1\n\ndata: 2\n\ndata: 3\n\n", "{answer}");
}

#[tokio::test]
async fn nothing_is_added_to_a_compressed_event_stream() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let mut asking = pausing(HEAD, ["4\r\nab\n\n\r\n", "2\r\nyz\r\n0\r\n\r\n"]).await;
    asking.ask("GET /mcp", "Accept-Encoding: gzip\r\n").await;
    let (head, body) = asking.caller.response().await;
    assert_eq!((field(&head, "content-encoding").as_deref(), body.as_str()), (Some("gzip"), "ab\n\nyz"));
    assert_eq!(asking.notes.received().await.field("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_torn_stream_is_resumed_where_the_caller_stopped() {
    let notes = RawUpstream::start(|number, mut connection| async move {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        if number == 0 {
            return connection.send("13\r\nid: 1/\u{2713}\ndata: 1\n\n\r\n").await;
        }
        connection.send("f\r\nid: 2\ndata: 2\n\n\r\n0\r\n\r\n").await;
    })
    .await;
    let mut asking = Asking::of(notes, Duration::from_secs(60)).await;
    asking.ask("GET /mcp", "Mcp-Session-Id: s\r\n").await;
    let torn = asking.caller.rest().await;
    assert!(torn.contains("id: 1/\u{2713}\ndata: 1\n\n") && !torn.contains("0\r\n\r\n"), "{torn:?}");
    asking.notes.received().await;
    asking.caller = Caller::connect(asking.gateway.port()).await;
    asking.ask("GET /mcp", "Mcp-Session-Id: s\r\nLast-Event-ID: 1/\u{2713}\r\n").await;
    assert_eq!(asking.caller.response().await.1, "id: 2\ndata: 2\n\n");
    assert_eq!(asking.notes.received().await.field("last-event-id"), Some("1/\u{2713}"));
}

#[tokio::test]
async fn scripts_of_service_workers_are_refused() {
    let mut asking =
        Asking::answered("HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 0\r\n\r\n").await;
    for value in ["script", "Script", "anything"] {
        asking.ask("GET /worker.js", &format!("Service-Worker: {value}\r\n")).await;
        assert_eq!(asking.caller.status().await, 403, "{value}");
    }
    assert_eq!(asking.notes.connections(), 0);
}
