//! A network between gateway and upstream that resets, stalls, drips and lies. Every caller gets an answer or sees that it
//! is torn, nobody gets somebody else's, and nothing is left behind.

use crate::chaos_proxy::{ChaosProxy, Fault, Numbers};
use crate::gateway::{Gateway, PASSWORD, upstream};
use crate::raw::{Caller, PATIENCE, get, post, status};
use crate::tls_peers::{Authority, TlsUpstream};
use axum::Json;
use axum::extract::ws::{Message as Frame, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::routing;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use portcullis::config::{Config, Rate, UpstreamAuth};
use portcullis::secret::Secret;
use portcullis::store::Role;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PEOPLE: [&str; 4] = ["ann", "bob", "cleo", "dan"];
const EVENTS: usize = 5;

/// An upstream that says to everybody what they said.
async fn echo() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, tokio::spawn(async move { axum::serve(listener, router()).await.unwrap() }))
}

/// What it answers: JSON, events, uploads, WebSocket.
pub fn router() -> axum::Router {
    async fn json_echo(Json(request): Json<Value>) -> Json<Value> {
        let canary = request["params"]["canary"].clone();
        Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"canary": canary, "filler": "x".repeat(500)}}))
    }
    async fn events(headers: HeaderMap) -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
        let canary = headers["x-canary"].to_str().unwrap().to_owned();
        Sse::new(futures_util::stream::unfold(0, move |number| {
            let event =
                Event::default().data(format!("{canary} {number}{}", if number == EVENTS { " last" } else { "" }));
            async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                (number <= EVENTS).then_some((Ok(event), number + 1))
            }
        }))
    }
    async fn upload(headers: HeaderMap, body: String) -> Json<Value> {
        Json(json!({"canary": headers["x-canary"].to_str().unwrap(), "length": body.len()}))
    }
    async fn socket(upgrade: WebSocketUpgrade) -> axum::response::Response {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(frame @ (Frame::Text(_) | Frame::Binary(_)))) = socket.recv().await {
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
        })
    }
    axum::Router::new()
        .route("/mcp", routing::post(json_echo))
        .route("/events", routing::get(events))
        .route("/upload", routing::post(upload))
        .route("/ws", routing::get(socket))
}

/// A gateway in front of these proxies that waits so long for upstreams and callers.
async fn gateway(proxies: &[ChaosProxy], patience: Duration) -> Gateway {
    let authorities: Vec<String> = proxies.iter().map(ChaosProxy::authority).collect();
    gateway_with(&[], authorities, patience, |_| {}).await
}

async fn gateway_with(
    names: &[&str],
    authorities: Vec<String>,
    patience: Duration,
    edit: impl Fn(&mut Config) + Send + Sync + 'static,
) -> Gateway {
    let gateway = Gateway::with_names(names, move |config| {
        let many = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
        config.limits.per_ip = many;
        config.limits.per_user = many;
        config.limits.per_user_upstream = many;
        config.limits.per_client = many;
        config.streams.heartbeat = Some(Duration::from_millis(60));
        config.streams.websocket_heartbeat = config.streams.heartbeat;
        config.streams.response_timeout = patience;
        config.streams.write_timeout = patience;
        config.upstream.extend(authorities.iter().map(|authority| upstream(authority, UpstreamAuth::None)));
        edit(config);
    })
    .await;
    for name in PEOPLE {
        let password = Secret::new(PASSWORD.to_owned());
        gateway.app().identity.create(name, &password, Role::Member).await.unwrap();
    }
    gateway
}

/// What a caller saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A whole answer with this status.
    Whole(u16, String),
    /// The connection ended in the middle.
    Torn,
    /// A stream that went on without saying anything, until the caller left.
    Silent,
}

/// One person's client of one upstream.
struct Person<'a> {
    name: &'static str,
    gateway: &'a Gateway,
    host: String,
    token: String,
    connection: Option<Caller>,
    number: u64,
}

impl<'a> Person<'a> {
    async fn new(name: &'static str, gateway: &'a Gateway, authority: &str) -> Self {
        let (token, _) = gateway.token_of(name, authority).await;
        Self { name, gateway, host: gateway.host_of(authority), token, connection: None, number: 0 }
    }

    fn canary(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.name, self.number)
    }

    /// Sends a request over the connection that is open, or a new one.
    async fn ask(&mut self, request: &str) -> Seen {
        let mut caller = match self.connection.take() {
            Some(caller) => caller,
            None => Caller::connect(self.gateway.port()).await,
        };
        if !caller.try_send(request).await {
            caller = Caller::connect(self.gateway.port()).await;
            caller.send(request).await;
        }
        let Some((head, body)) = caller.try_response().await else { return Seen::Torn };
        // Some answers end their connection, and say so.
        if !head.to_ascii_lowercase().contains("connection: close") {
            self.connection = Some(caller);
        }
        Seen::Whole(status(&head), body)
    }

    async fn json(&mut self) -> (Seen, Value) {
        let canary = self.canary();
        let body = json!({"jsonrpc": "2.0", "id": self.number, "method": "tools/list", "params": {"canary": canary}});
        let request = post(&self.host, &self.token, &body.to_string());
        let answer =
            json!({"jsonrpc": "2.0", "id": self.number, "result": {"canary": canary, "filler": "x".repeat(500)}});
        (self.ask(&request).await, answer)
    }

    async fn upload(&mut self) -> (Seen, Value) {
        let canary = self.canary();
        let head = get(&self.host, &self.token, "/upload").replace("GET", "POST").replace(
            "\r\n\r\n",
            &format!("\r\nX-Canary: {canary}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"),
        );
        let piece = format!("{:x}\r\n{}\r\n", 10_000, "u".repeat(10_000));
        let request = head + &piece.repeat(20) + "0\r\n\r\n";
        (self.ask(&request).await, json!({"canary": canary, "length": 200_000}))
    }

    /// The events that came, and how they ended.
    async fn events(&mut self) -> (Seen, String) {
        let canary = self.canary();
        let mut caller = Caller::connect(self.gateway.port()).await;
        let request = get(&self.host, &self.token, "/events");
        caller.send(request.replace("\r\n\r\n", &format!("\r\nX-Canary: {canary}\r\n\r\n"))).await;
        // Heartbeats keep a stalled stream open for hours, as they must: the caller leaves.
        let seen = match tokio::time::timeout(Duration::from_millis(400), caller.try_response()).await {
            Ok(Some((head, body))) => Seen::Whole(status(&head), body),
            Ok(None) => Seen::Torn,
            Err(_) => Seen::Silent,
        };
        (seen, canary)
    }

    async fn socket(&mut self) -> Seen {
        let canary = self.canary();
        let mut request = format!("ws://{}/ws", self.host).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        let stream = TcpStream::connect(("127.0.0.1", self.gateway.port())).await.unwrap();
        let talk = async {
            let mut socket = match client_async(request, stream).await {
                Ok((socket, _)) => socket,
                Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                    return Seen::Whole(answer.status().as_u16(), String::new());
                }
                Err(_) => return Seen::Torn,
            };
            let mut silence = 0;
            let _ = socket.send(Message::text(canary.clone())).await;
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return Seen::Whole(101, text.to_string()),
                    Some(Ok(Message::Ping(_))) if silence < 3 => silence += 1,
                    Some(Ok(Message::Ping(_))) => return Seen::Silent,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Seen::Torn,
                }
            }
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("a WebSocket hangs")
    }
}

/// How strict the callers of a run are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// It cuts and delays: what arrives whole is exactly what was sent.
    Honest,
    /// It changes bytes, which only TLS would notice: nobody gets what is somebody else's.
    Lying,
}

impl Network {
    fn check(self, what: &str, name: &str, seen: &Seen, answer: &Value) {
        let Seen::Whole(status, body) = seen else { return };
        match (self, status) {
            (_, 502 | 504) => assert!(body.contains("jsonrpc"), "{what}: {body}"),
            (Network::Honest, 200) => {
                assert_eq!(serde_json::from_str::<Value>(body).ok().as_ref(), Some(answer), "{what} of {name}");
            }
            // The upstream's own: it saw its half of the connection end before the body did.
            (Network::Honest, 400) if body.contains("request body") => {}
            (Network::Honest, status) => panic!("{what}: {status} {body}"),
            (Network::Lying, _) => only_own(what, name, body),
        }
    }
}

fn only_own(what: &str, name: &str, body: &str) {
    for other in PEOPLE.iter().filter(|other| **other != name) {
        assert!(!body.contains(&format!("{other}-")), "{what} of {name}: {body}");
    }
}

/// What one person does in a run, and how often it came to an answer of the upstream, to one of ours, and to none.
async fn visit(mut person: Person<'_>, mut numbers: Numbers, network: Network) -> [usize; 3] {
    let mut tally = [0; 3];
    for _ in 0..12 {
        let seen = match numbers.below(8) {
            0..4 => {
                let (seen, answer) = person.json().await;
                network.check("json", person.name, &seen, &answer);
                seen
            }
            4 => {
                let (seen, answer) = person.upload().await;
                network.check("upload", person.name, &seen, &answer);
                seen
            }
            5..7 => {
                let (seen, canary) = person.events().await;
                if let Seen::Whole(200, text) = &seen {
                    only_own("events", person.name, text);
                    let ends = text.contains(&format!("{canary} {EVENTS} last"));
                    assert!(ends || network == Network::Lying, "cut without a sign: {text}");
                }
                seen
            }
            _ => {
                let seen = person.socket().await;
                match &seen {
                    Seen::Whole(101, text) => only_own("socket", person.name, text),
                    Seen::Whole(status, _) => {
                        assert!(matches!(status, 502 | 504) || network == Network::Lying, "{status}");
                    }
                    Seen::Torn | Seen::Silent => {}
                }
                seen
            }
        };
        tally[match seen {
            Seen::Whole(101 | 200, _) => 0,
            Seen::Whole(..) => 1,
            Seen::Torn | Seen::Silent => 2,
        }] += 1;
    }
    tally
}

async fn run(seed: u64, network: Network) {
    let (upstream, serving) = echo().await;
    let proxy = ChaosProxy::start(upstream).await;
    let authority = proxy.authority();
    let proxies = [proxy];
    let gateway = gateway(&proxies, Duration::from_millis(250)).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    match network {
        Network::Honest => proxies[0].honest(seed),
        Network::Lying => proxies[0].anything(seed),
    }
    let mut visits = Vec::new();
    for (index, name) in PEOPLE.into_iter().enumerate() {
        // Two connections each: the pool is shared between them.
        for twin in 0..2u64 {
            let numbers = Numbers(seed ^ (index as u64 * 2 + twin + 1) << 32);
            visits.push(visit(Person::new(name, &gateway, &authority).await, numbers, network));
        }
    }
    let tallies = join_all(visits).await;
    let tally = tallies.iter().fold([0; 3], |sum, tally| std::array::from_fn(|index| sum[index] + tally[index]));
    // Answers of the upstream, of the gateway, and torn ones: a run without any of them has shown nothing.
    assert!(tally.iter().all(|count| *count > 0), "seed {seed}: {tally:?}");
    proxies[0].always(Fault::None);
    for name in PEOPLE {
        let mut person = Person::new(name, &gateway, &authority).await;
        // What waits in the pool may still be faulty, and is used up.
        let mut attempts = 0;
        while let (seen, answer) = person.json().await
            && seen != Seen::Whole(200, answer.to_string())
        {
            attempts += 1;
            assert!(attempts < 8, "the pool is poisoned: {seen:?}");
        }
    }
    let [proxy] = proxies;
    let port = proxy.port;
    proxy.stop().await;
    nothing_is_left(&gateway, &[port], before).await;
    serving.abort();
}

/// Under TLS every changed byte is noticed: whatever the network does, an answer that arrives whole is the right one.
#[tokio::test]
async fn under_tls_a_network_that_lies_is_one_that_cuts() {
    let authority = Authority::new("upstreams");
    for (seed, protocols) in seeds(2000).zip([&["h2"][..], &["http/1.1"]].into_iter().cycle()) {
        let upstream = TlsUpstream::start(&authority, "mcp.test", protocols).await;
        let proxy = ChaosProxy::start(upstream.port).await;
        let (name, ca_file) = (format!("mcp.test:{}", proxy.port), authority.file());
        let trust = move |config: &mut Config| config.upstreams.ca_file = Some(ca_file.clone());
        let gateway = gateway_with(&["mcp.test"], vec![name.clone()], Duration::from_millis(400), trust).await;
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        proxy.anything(seed);
        let visits = PEOPLE.into_iter().flat_map(|person| [person; 2]).map(|person| {
            let (gateway, name) = (&gateway, &name);
            async move {
                let (mut person, mut refused) = (Person::new(person, gateway, name).await, 0);
                for _ in 0..10 {
                    let canary = person.canary().repeat(50);
                    let request = post(&person.host, &person.token, &canary).replace("/mcp", "/echo");
                    match person.ask(&request).await {
                        Seen::Whole(200, body) => assert_eq!(body, canary),
                        Seen::Whole(status, body) => {
                            assert!(matches!(status, 502 | 504) && body.contains("jsonrpc"), "{status} {body}");
                            refused += 1;
                        }
                        Seen::Torn | Seen::Silent => refused += 1,
                    }
                }
                refused
            }
        });
        let refused: usize = join_all(visits).await.into_iter().sum();
        println!("seed {seed}, {protocols:?}: {refused} of 80 without an answer of the upstream");
        assert!((1..80).contains(&refused), "{refused}");
        let port = proxy.port;
        proxy.stop().await;
        // Pingora's pings of an HTTP/2 connection that is dead end with their next turn, which is too far away.
        let before = if protocols == ["h2"] { usize::MAX } else { before };
        nothing_is_left(&gateway, &[port], before).await;
    }
}

/// No connection, no stream, no task.
async fn nothing_is_left(gateway: &Gateway, proxies: &[u16], tasks: usize) {
    let metrics = &gateway.app().metrics;
    let left = || {
        let sockets = proxies.iter().map(|port| sockets_to(*port)).sum::<usize>();
        let now = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        (metrics.open_streams.get(), metrics.connections.get(), sockets, now.saturating_sub(tasks))
    };
    let all_gone = async {
        while left() != (0, 0, 0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, all_gone).await;
    assert!(gone.is_ok(), "streams, connections, sockets, tasks that are left: {:?}", left());
}

/// Sockets of this process that are connected to a port.
fn sockets_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // What has no inode belongs to the kernel alone: the descriptor is closed.
        fields.len() > 9 && fields[2].ends_with(&remote) && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_open).count()
}

/// The seeds of this run: a few, or as many as `PORTCULLIS_CHAOS_SEEDS` says.
fn seeds(first: u64) -> impl Iterator<Item = u64> {
    #[allow(clippy::disallowed_methods)] // a test has no configuration
    let count = std::env::var("PORTCULLIS_CHAOS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    first..first + count
}

#[tokio::test]
async fn every_caller_gets_an_answer_through_a_network_that_cuts() {
    for seed in seeds(1) {
        run(seed, Network::Honest).await;
    }
}

#[tokio::test]
async fn nobody_gets_somebody_else_s_through_a_network_that_lies() {
    for seed in seeds(1000) {
        run(seed, Network::Lying).await;
    }
}

#[tokio::test]
async fn every_fault_has_its_answer_and_the_next_request_works() {
    const BODY: usize = 400;
    let (bad, late) = (&[502][..], &[504][..]);
    // An empty list: torn, and seen to be.
    let table = [
        (Fault::Reset(0), bad),
        (Fault::Reset(20), bad),
        (Fault::Reset(BODY), &[]),
        (Fault::Close(0), bad),
        (Fault::Close(20), bad),
        (Fault::Close(BODY), &[]),
        (Fault::HalfClose(0), bad),
        (Fault::HalfClose(20), bad),
        (Fault::HalfClose(BODY), &[]),
        (Fault::HalfCloseRequest, &[200, 502]),
        (Fault::Stall(0), late),
        (Fault::Stall(20), late),
        (Fault::Stall(BODY), &[]),
        (Fault::Drip(Duration::ZERO), &[200]),
        // Too slow to begin within the response time-out.
        (Fault::Drip(Duration::from_millis(30)), late),
        (Fault::Late(Duration::from_millis(50)), &[200]),
        (Fault::Late(Duration::from_secs(4)), late),
        (Fault::Garbage(0), bad),
        (Fault::Garbage(20), bad),
        (Fault::CloseIdle, &[200]),
        (Fault::Duplicate, &[200]),
    ];
    let (upstream, _serving) = echo().await;
    let mut proxies = Vec::new();
    for _ in &table {
        proxies.push(ChaosProxy::start(upstream).await);
    }
    let gateway = gateway(&proxies, Duration::from_secs(2)).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let trials = table.iter().zip(&proxies).map(|((fault, expected), proxy)| {
        let gateway = &gateway;
        async move {
            proxy.always(*fault);
            let mut person = Person::new("ann", gateway, &proxy.authority()).await;
            let (seen, answer) = person.json().await;
            match &seen {
                Seen::Whole(status, _) => assert!(expected.contains(status), "{fault:?}: {seen:?}"),
                other => assert!(expected.is_empty(), "{fault:?}: {other:?}"),
            }
            if seen == Seen::Whole(200, answer.to_string()) {
                // What comes after a whole answer is not the next one.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            proxy.always(Fault::None);
            let (seen, answer) = person.json().await;
            assert_eq!(seen, Seen::Whole(200, answer.to_string()), "after {fault:?}");
        }
    });
    join_all(trials).await;
    let ports: Vec<u16> = proxies.iter().map(|proxy| proxy.port).collect();
    for proxy in proxies {
        proxy.stop().await;
    }
    nothing_is_left(&gateway, &ports, before).await;
}
