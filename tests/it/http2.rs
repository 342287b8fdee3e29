//! Hostile HTTP/2: every attack is ended, or costs nothing that grows, and others are served meanwhile.

use crate::gateway::{Gateway, label, upstream};
use crate::h2_attacks::{
    Attack, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Ended, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM, Request,
    attack, frame, literal,
};
use crate::raw::{PATIENCE, RawUpstream};
use crate::tls_peers::{self, Authority};
use portcullis::config::{Rate, UpstreamAuth};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const DOMAIN: &str = "gw.test";

/// A gateway with short deadlines, whose upstream answers with more than a window takes.
struct Besieged {
    authority: Authority,
    gateway: Gateway,
    upstream: RawUpstream,
    request: Request,
}

impl Besieged {
    async fn new() -> Self {
        let authority = Authority::new("test");
        let server = RawUpstream::start(|_, mut connection| async move {
            while connection.request().await.is_some() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200000\r\n\r\n";
                connection.send(head.to_owned() + &"y".repeat(200_000)).await;
            }
        })
        .await;
        let (tls, address) = (authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]), server.authority.clone());
        let gateway = Gateway::with(move |config| {
            config.tls = tls.clone();
            config.server.domain = DOMAIN.to_owned();
            config.limits.per_ip = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
            config.server.max_body = 10_000;
            config.limits.connections.head_timeout = Duration::from_millis(700);
            config.limits.connections.body_timeout = Duration::from_millis(700);
            config.streams.write_timeout = Duration::from_millis(700);
            config.upstream.push(upstream(&address, UpstreamAuth::None));
        })
        .await;
        let (token, _) = gateway.token_for(&server.authority).await;
        let host = format!("{}.{DOMAIN}", label(&server.authority));
        let request =
            Request { authority: format!("{host}:{}", gateway.port()), path: "/mcp".to_owned(), token: Some(token) };
        Self { authority, gateway, upstream: server, request }
    }

    async fn connect(&self) -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {
        self.authority.connect(self.gateway.port(), DOMAIN, "h2").await
    }

    async fn endure(&self, kind: Attack, pieces: u32) -> Ended {
        let until = Instant::now() + if pieces == 0 { Duration::from_secs(3) } else { 3 * PATIENCE };
        let attacking = attack(kind, self.connect().await, &self.request, pieces, until);
        let (ended, ()) = tokio::join!(attacking, self.serves_others());
        ended
    }

    /// A well-behaved connection is served.
    async fn serves_others(&self) {
        let frames = tls_peers::Frames::connect(&self.authority, self.gateway.port(), DOMAIN).await;
        for _ in 0..3 {
            let health = format!("https://{DOMAIN}:{}/health", self.gateway.port());
            let request = http::Request::builder().method("GET").uri(health);
            assert_eq!(frames.post(request, &[]).await.0, 200);
        }
    }
}

#[tokio::test]
async fn a31_floods_are_answered_with_enhance_your_calm() {
    let besieged = Besieged::new().await;
    for (kind, pieces) in [
        (Attack::RapidReset, 40),
        (Attack::MadeYouReset, 40),
        (Attack::Continuation, 200),
        (Attack::EmptyContinuation, 200),
        (Attack::EmptyData, 200),
    ] {
        let ended = besieged.endure(kind, pieces).await;
        assert!(ended.closed, "{kind:?}: {ended:?}");
        assert_eq!(ended.goaway, Some(ENHANCE_YOUR_CALM), "{kind:?}: {ended:?}");
    }
    besieged.nothing_is_left().await;
}

#[tokio::test]
async fn heads_that_are_too_large_end_their_stream_or_their_connection() {
    let besieged = Besieged::new().await;
    for kind in [Attack::HpackBomb, Attack::LargeHead] {
        let ended = besieged.endure(kind, 20).await;
        assert!(ended.closed || ended.resets + ended.answers >= 20, "{kind:?}: {ended:?}");
    }
    assert_eq!(besieged.upstream.connections(), 0);
    besieged.nothing_is_left().await;
}

#[tokio::test]
async fn frames_that_mean_nothing_are_ignored_and_answers_that_nobody_reads_are_not_collected() {
    let besieged = Besieged::new().await;
    for kind in
        [Attack::Unknown, Attack::Priority, Attack::PaddedData, Attack::Ping, Attack::Settings, Attack::SlowReset]
    {
        let ended = besieged.endure(kind, 300).await;
        assert!(ended.closed || ended.pieces > 0, "{kind:?}: {ended:?}");
    }
    besieged.nothing_is_left().await;
}

#[tokio::test]
async fn what_is_held_open_is_taken_back() {
    let besieged = Besieged::new().await;
    let (zero_window, no_body, silent) = tokio::join!(
        besieged.endure(Attack::ZeroWindow, 0),
        besieged.endure(Attack::NoBody, 0),
        besieged.endure(Attack::Silent, 0),
    );
    assert!(zero_window.resets >= 100 || zero_window.closed, "{zero_window:?}");
    // 408, each of them.
    assert_eq!(no_body.answers, 100, "{no_body:?}");
    assert!(silent.closed, "{silent:?}");
    besieged.nothing_is_left().await;
}

impl Besieged {
    /// Everything that the attackers had is given back.
    async fn nothing_is_left(&self) {
        let metrics = &self.gateway.app().metrics;
        let gone = async {
            while (metrics.connections.get(), metrics.open_streams.get()) != (0, 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, gone).await.is_ok();
        assert!(in_time, "{} connections are left", metrics.connections.get());
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_and_the_connection_goes_on() {
    let besieged = Besieged::new().await;
    let host = besieged.request.authority.split(':').next().unwrap();
    let frames = tls_peers::Frames::connect(&besieged.authority, besieged.gateway.port(), host).await;
    let request = |length: Option<usize>| {
        let bearer = format!("Bearer {}", besieged.request.token.as_deref().unwrap());
        let url = format!("https://{}/mcp", besieged.request.authority);
        let request = http::Request::builder().method("POST").uri(url).header("authorization", bearer);
        length.iter().fold(request, |request, length| request.header("content-length", *length))
    };
    let piece = bytes::Bytes::from(vec![b'x'; 5_000]);
    let three = [piece.clone(), piece.clone(), piece];
    for length in [Some(15_000), None] {
        let (status, body) = frames.post(request(length), &three).await;
        assert_eq!(status, 413, "{length:?}: {body}");
        assert!(body.contains("jsonrpc"), "{body}");
    }
    let health = http::Request::builder().method("GET").uri(format!("https://{}/health", besieged.request.authority));
    assert_eq!(frames.post(health, &[]).await.0, 401, "the upstream's path, without a token");
}

#[tokio::test]
async fn contradicting_hosts_and_other_malformed_requests_go_nowhere() {
    let mut besieged = Besieged::new().await;
    let good = Request { path: "/bad".to_owned(), ..besieged.request.clone() }.block("GET");
    let but = |name: &str, value: &str| [good.clone(), literal(name, value)].concat();
    let without = |name: &str| -> Vec<u8> {
        let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/bad"), (":authority", "x.gw.test")];
        fields.iter().filter(|(field, _)| *field != name).flat_map(|(name, value)| literal(name, value)).collect()
    };
    for (what, block, ends_connection) in [
        ("another host", but("host", "evil.example"), false),
        ("a hop-by-hop field", but("connection", "close"), false),
        ("a transfer coding", but("transfer-encoding", "chunked"), false),
        ("a pseudo-field after the fields", but(":path", "/again"), false),
        ("a length without a body", but("content-length", "5"), false),
        ("two lengths", [but("content-length", "0"), literal("content-length", "5")].concat(), false),
        ("no method", without(":method"), false),
        ("no path", without(":path"), false),
        ("no authority", without(":authority"), false),
        // What no field can be: the decoder's state is lost with it.
        ("upper case", but("Upper", "case"), true),
        ("a line break", but("x", "a\r\nb: c"), true),
    ] {
        let survived = besieged.refuses(&block, what).await;
        assert_eq!(survived, !ends_connection, "{what}");
    }
    while besieged.upstream.has_received() {
        let head = besieged.upstream.received().await.head;
        assert!(head.starts_with("GET /mcp "), "{head}");
    }
}

impl Besieged {
    /// Sends a request that must not be answered well, and a good one after it: whether that one is served.
    async fn refuses(&self, block: &[u8], what: &str) -> bool {
        let mut stream = self.connect().await;
        let bad = frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
        let good = frame(HEADERS, END_HEADERS | END_STREAM, 3, &self.request.block("GET"));
        stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &bad, &good].concat()).await.unwrap();
        stream.flush().await.unwrap();
        let mut frames = Frames::new(&mut stream);
        let (mut refused, mut served) = (false, None);
        let answered = async {
            while !refused || served.is_none() {
                let Some(frame) = frames.next().await else { return served = Some(false) };
                // Index 8 of the static table is ":status: 200".
                let fine = frame.kind == HEADERS && frame.payload.first() == Some(&0x88);
                match frame.stream {
                    1 if frame.kind == HEADERS || frame.kind == RST_STREAM => {
                        assert!(!fine, "{what}");
                        refused = true;
                    }
                    3 if frame.kind == HEADERS => served = Some(fine),
                    _ if frame.kind == GOAWAY => refused = true,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{what}: no answer"));
        served == Some(true)
    }
}
