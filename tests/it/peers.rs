//! Upstreams that are out of order: addresses that answer nothing, and what the others notice of it.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::tls_peers::{Authority, TlsUpstream};
use portcullis::config::{Config, Rate, UpstreamAuth};
use portcullis::hostname::Authority as UpstreamAuthority;
use portcullis::upstream::{Note, State};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
/// Far below what one address is given (5 s), far above what anything takes that does not wait for it.
const SOON: Duration = Duration::from_secs(3);

/// An address that neither takes nor refuses a connection: nobody accepts, and the queue is full.
struct BlackHole {
    listener: TcpListener,
    queued: Vec<TcpStream>,
    address: SocketAddr,
}

impl BlackHole {
    async fn at(address: &str, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), port)).unwrap();
        let listener = socket.listen(1).unwrap();
        let (address, mut queued) = (listener.local_addr().unwrap(), Vec::new());
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        Self { listener, queued, address }
    }

    /// Answers everything from now on.
    fn recover(self) {
        drop(self.queued);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = self.listener.accept().await {
                let _ = stream.write_all(OK.as_bytes()).await;
                // Dropping it with an unread request in it would reset the connection.
                tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
            }
        });
    }
}

fn configured(authorities: &[&str]) -> impl Fn(&mut Config) + Send + Sync + 'static {
    let authorities: Vec<String> = authorities.iter().map(|text| (*text).to_owned()).collect();
    move |config| {
        let limits = &mut config.limits;
        for rate in [&mut limits.per_ip, &mut limits.per_user, &mut limits.per_user_upstream, &mut limits.per_client] {
            *rate = Rate { count: 100_000, period: Duration::from_secs(1), burst: 100_000 };
        }
        config.upstream.extend(authorities.iter().map(|authority| upstream(authority, UpstreamAuth::None)));
    }
}

async fn ask(gateway: &Gateway, authority: &str, token: &str) -> (u16, Option<String>) {
    let mut caller = Caller::connect(gateway.port()).await;
    let (head, _) = caller.send(post(&gateway.host_of(authority), token, LIST)).await.response().await;
    (status(&head), field(&head, "retry-after"))
}

fn note(gateway: &Gateway, authority: &str) -> Note {
    gateway.app().health.of(&UpstreamAuthority::parse(authority).unwrap()).note()
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_overtaken() {
    let authority = Authority::new("upstreams");
    for (first, protocols) in
        [("127.0.0.2", &["h2", "http/1.1"][..]), ("127.0.0.2", &["http/1.1"]), ("127.0.0.3", &["h2"])]
    {
        let mut times = Vec::new();
        // A machine that stands still for a moment proves nothing; whoever waits for the address does so each time.
        while times.iter().all(|time| *time >= SOON) {
            assert!(times.len() < 5, "{first}: {times:?}");
            times.push(overtakes(&authority, first, protocols).await);
        }
    }
}

/// How long a request takes, and with it the way to the second of two addresses.
async fn overtakes(authority: &Authority, first: &str, protocols: &[&str]) -> Duration {
    let upstream = TlsUpstream::start(authority, "mcp.test", protocols).await;
    // Nobody listens on 127.0.0.3: that address refuses.
    let _hole = if first == "127.0.0.2" { Some(BlackHole::at(first, upstream.port).await) } else { None };
    let name = format!("mcp.test:{}", upstream.port);
    let addresses: Vec<IpAddr> = vec![first.parse().unwrap(), [127, 0, 0, 1].into()];
    let (edit, ca) = (configured(&[&name]), authority.file());
    let gateway = Gateway::with_addresses(HashMap::from([("mcp.test".to_owned(), addresses)]), move |config| {
        edit(config);
        config.upstreams.ca_file = Some(ca.clone());
    })
    .await;
    let (token, _) = gateway.token_for(&name).await;
    let started = Instant::now();
    assert_eq!(ask(&gateway, &name, &token).await.0, 200);
    let took = started.elapsed();
    let health = gateway.app().health.of(&UpstreamAuthority::parse(&name).unwrap());
    let winner = SocketAddr::from(([127, 0, 0, 1], upstream.port));
    assert_eq!(health.favourite(), Some((winner, false)), "who won is tried first from now on");
    assert_eq!((health.note().failures, health.note().state), (0, State::Closed));
    took
}

#[tokio::test]
async fn a_dead_upstream_is_given_up_and_no_other_is_slowed_and_it_recovers_by_itself() {
    let hole = BlackHole::at("127.0.0.2", 0).await;
    let (dead, alive) = (hole.address.to_string(), RawUpstream::answering(OK).await);
    let gateway = Gateway::with(configured(&[&dead, &alive.authority])).await;
    let (dead_token, _) = gateway.token_for(&dead).await;
    let (alive_token, _) = gateway.token_for(&alive.authority).await;

    let mut callers = Vec::new();
    for _ in 0..200 {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(post(&gateway.host_of(&dead), &dead_token, LIST)).await;
        callers.push(caller);
    }
    while note(&gateway, &dead).waiting < 200 {
        tokio::task::yield_now().await;
    }
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(ask(&gateway, &alive.authority, &alive_token).await, (200, None));
        times.push(started.elapsed());
    }
    times.sort();
    assert!(times[times.len() / 2] < SOON, "{times:?}");
    assert_eq!(note(&gateway, &dead).waiting, 200, "they wait still");
    while note(&gateway, &dead).state == State::Closed {
        tokio::task::yield_now().await;
    }
    // Refused, as is counted below: callers are not kept waiting any more.
    let (code, retry_after) = ask(&gateway, &dead, &dead_token).await;
    assert_eq!(code, 504);
    // Two seconds to begin with, and longer when this machine was too slow to ask before the first pause was over.
    assert!((1..=30).contains(&retry_after.unwrap().parse().unwrap()));
    for mut caller in callers {
        assert_eq!(caller.status().await, 504);
    }
    let seen = note(&gateway, &dead);
    assert_eq!((seen.requests, seen.failures, seen.refused, seen.waiting), (201, 200, 1, 0));
    assert_eq!((seen.state, seen.last_failure.unwrap().1.as_str()), (State::Open, "no connection in time"));
    let line = format!("portcullis_upstream_out_of_order{{upstream=\"{dead}\"}} 1");
    assert!(gateway.app().metrics.encode().lines().any(|l| l == line));

    hole.recover();
    gateway.clock.advance(Duration::from_secs(4));
    assert_eq!(ask(&gateway, &dead, &dead_token).await, (200, None));
    assert_eq!(note(&gateway, &dead).state, State::Closed);
}

#[tokio::test]
async fn answers_that_stay_away_count_and_answers_that_are_bad_do_not() {
    let bad = RawUpstream::answering(ERROR).await;
    let silent = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
    })
    .await;
    let gateway = Gateway::with(configured(&[&bad.authority, &silent.authority])).await;
    let (token, _) = gateway.token_for(&bad.authority).await;
    for _ in 0..12 {
        assert_eq!(ask(&gateway, &bad.authority, &token).await, (500, None));
    }
    assert_eq!(note(&gateway, &bad.authority).failures, 0);
    let (token, _) = gateway.token_for(&silent.authority).await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &silent.authority, &token).await, (502, None));
    }
    let (code, retry_after) = ask(&gateway, &silent.authority, &token).await;
    assert!(code == 502 && retry_after.is_some());
    assert_eq!(silent.connections(), 5);
    gateway.clock.advance(Duration::from_secs(4));
    assert_eq!(ask(&gateway, &silent.authority, &token).await, (502, None), "the probe is an ordinary request");
    assert!(ask(&gateway, &silent.authority, &token).await.1.is_some());
    assert_eq!(silent.connections(), 6);
}

#[tokio::test]
async fn only_so_many_requests_wait_for_one_upstream_and_streams_do_not_count() {
    let mut hanging = RawUpstream::start(|_, mut connection| async move {
        while connection.request().await.is_some() {
            connection.send(STREAM).await;
        }
    })
    .await;
    let silent = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let edit = configured(&[&hanging.authority, &silent.authority]);
    let gateway = Gateway::with(move |config| {
        edit(config);
        config.upstreams.max_requests = 2;
    })
    .await;
    let (token, _) = gateway.token_for(&hanging.authority).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(get(&gateway.host_of(&hanging.authority), &token, "/mcp")).await.until("\r\n\r\n").await;
        hanging.received().await;
        streams.push(caller);
    }
    assert_eq!(note(&gateway, &hanging.authority).waiting, 0);

    let (token, _) = gateway.token_for(&silent.authority).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(post(&gateway.host_of(&silent.authority), &token, LIST)).await;
        waiting.push(caller);
    }
    while note(&gateway, &silent.authority).waiting < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&gateway, &silent.authority, &token).await, (503, Some("1".to_owned())));
    drop(waiting);
    while note(&gateway, &silent.authority).waiting > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(note(&gateway, &silent.authority).state, State::Closed, "callers that leave say nothing about it");
}
