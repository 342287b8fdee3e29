//! Bodies of requests and what is kept of them: an upstream that does not take its token any more sees the same request a
//! second time, whatever its framing, and what is kept stays within its limits.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, field, post, status};
use crate::tls_peers::{Authority, Frames};
use crate::upstreams::anywhere;
use bytes::Bytes;
use http::StatusCode;
use portcullis::clock::Clock;
use portcullis::config::{Config, OAuthSettings, Rate, UpstreamAuth};
use portcullis::devkit::authorization_server::{AuthorizationServer, Options};
use portcullis::ids::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const UNAUTHORIZED: &str =
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\n\r\n";

/// An upstream that refuses as many requests as it is told to, with an authorization server beside it, and a gateway that
/// somebody has connected to it.
struct World {
    authorization: AuthorizationServer,
    upstream: RawUpstream,
    refusals: Arc<AtomicUsize>,
    gateway: Gateway,
    host: String,
    token: String,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        // It refuses everything until somebody is connected: that is how it is found to want authorization.
        let refusals = Arc::new(AtomicUsize::new(usize::MAX));
        let left = refusals.clone();
        let server = RawUpstream::start(move |_, mut connection| {
            let left = left.clone();
            async move {
                while connection.request().await.is_some() {
                    let refuses = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                    connection.send(if refuses.is_ok() { UNAUTHORIZED } else { OK }).await;
                }
            }
        })
        .await;
        Self::in_front_of(server, refusals, edit).await
    }

    async fn in_front_of(
        server: RawUpstream,
        refusals: Arc<AtomicUsize>,
        edit: impl Fn(&mut Config) + Send + Sync + 'static,
    ) -> Self {
        let authority = server.authority.clone();
        let (clock, random) = (Clock::system(), Random::default());
        let options = Options { access_ttl: Duration::from_secs(24 * 3600), ..Options::default() };
        let authorization = AuthorizationServer::start(anywhere(), clock, random, options).await.unwrap();
        authorization.tokens().add_resource_origin(&format!("http://{authority}"));
        let (issuer, configured) = (authorization.issuer(), authority.clone());
        let gateway = Gateway::with(move |config| {
            let settings = OAuthSettings { issuer: Some(issuer.clone()), ..OAuthSettings::default() };
            config.upstream.push(upstream(&configured, UpstreamAuth::OAuth(Box::new(settings))));
            edit(config);
        })
        .await;
        let token = Client::ready(&mcp_url(&gateway, &authority)).await.connect().await.access;
        let host = gateway.host_of(&authority);
        let mut world = Self { authorization, upstream: server, refusals, gateway, host, token };
        world.refuse(0);
        while world.upstream.has_received() {
            world.upstream.received().await;
        }
        world
    }

    async fn caller(&self) -> Caller {
        Caller::connect(self.gateway.port()).await
    }

    /// The head of a request without a length.
    fn chunked(&self) -> String {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            self.host, self.token
        )
    }

    /// A token that is refused as soon as it was issued would end the connection: time passes first.
    fn refuse(&self, times: usize) {
        self.gateway.clock.advance(Duration::from_secs(61));
        self.refusals.store(times, Ordering::SeqCst);
    }

    fn refreshes(&self) -> u32 {
        self.authorization.counters().refreshes
    }
}

fn kept(gateway: &Gateway) -> i64 {
    gateway.app().metrics.kept_bodies.get()
}

fn chunks(pieces: &[&str]) -> String {
    pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect::<String>() + "0\r\n\r\n"
}

#[tokio::test]
async fn a_small_body_is_sent_again_byte_for_byte_whatever_its_framing() {
    let mut world = World::new().await;
    let mut caller = world.caller().await;
    let body = "0123456789abcdef".repeat(4096); // 64 KiB
    for request in [
        post(&world.host, &world.token, "{\"jsonrpc\":\"2.0\"}"),
        post(&world.host, &world.token, &body),
        world.chunked() + &chunks(&["{\"jsonrpc\"", ":\"2.0\"}"]),
        world.chunked() + &chunks(&[&body[..1], &body[1..40_000], &body[40_000..]]),
        world.chunked() + &chunks(&[]),
    ] {
        let refreshes = world.refreshes();
        world.refuse(1);
        assert_eq!(caller.send(request).await.status().await, 200);
        assert_eq!(world.refreshes(), refreshes + 1);
        let (first, second) = (world.upstream.received().await, world.upstream.received().await);
        assert!(first.body == second.body, "{:?}", first.head);
        assert_ne!(first.field("authorization"), second.field("authorization"));
        assert_eq!(kept(&world.gateway), 0);
    }
}

#[tokio::test]
async fn what_has_arrived_goes_on_and_is_sent_again_all_the_same() {
    let arrived = Arc::new(Notify::new());
    let told = arrived.clone();
    // Reads by hand, to tell of the first bytes, and refuses what comes in chunks.
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let bodies = seen.clone();
    let by_hand = RawUpstream::start(move |_, mut connection| {
        let (told, bodies) = (told.clone(), bodies.clone());
        async move {
            let mut read = String::new();
            let ends = |read: &str| read.ends_with("first, last") || read.ends_with("\r\n0\r\n\r\n");
            let anonymous = |read: &str| read.ends_with("\r\n\r\n") && !read.contains("Bearer ");
            while !ends(&read) && !anonymous(&read) && !read.contains("initialize") {
                let mut piece = [0; 4096];
                match connection.stream.read(&mut piece).await {
                    Ok(length) if length > 0 => read += std::str::from_utf8(&piece[..length]).unwrap(),
                    _ => return,
                }
                if read.ends_with("first, \r\n") {
                    told.notify_one();
                }
            }
            let answer = if read.ends_with("first, last") { OK } else { UNAUTHORIZED };
            if ends(&read) {
                bodies.lock().push(read);
            }
            connection.send(answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        }
    })
    .await;
    let world = World::in_front_of(by_hand, Arc::default(), |_| {}).await;
    let mut caller = world.caller().await;
    caller.send(world.chunked()).await.send("7\r\nfirst, \r\n").await;
    tokio::time::timeout(PATIENCE, arrived.notified()).await.expect("the first bytes were held back");
    assert!(kept(&world.gateway) > 0);
    caller.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert_eq!(caller.status().await, 200);
    let seen = seen.lock();
    let (first, second) = (&seen[0], &seen[1]);
    assert!(first.ends_with("7\r\nfirst, \r\n4\r\nlast\r\n0\r\n\r\n"), "{first}");
    assert!(second.to_ascii_lowercase().contains("content-length: 11") && second.ends_with("first, last"), "{second}");
    assert_eq!(kept(&world.gateway), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_our_challenge_and_works_the_next_time() {
    let mut world = World::with(|config| config.server.kept_body = 1024).await;
    let mut caller = world.caller().await;
    let (fits, large) = ("x".repeat(1024), "x".repeat(1025));
    for request in [post(&world.host, &world.token, &large), world.chunked() + &chunks(&[&large])] {
        let refreshes = world.refreshes();
        world.refuse(1);
        let (head, _) = caller.send(&request).await.response().await;
        assert_eq!(status(&head), 401);
        assert!(field(&head, "www-authenticate").unwrap().contains("resource_metadata="), "{head}");
        assert_eq!(world.upstream.received().await.body, large.as_bytes());
        assert!(!world.upstream.has_received(), "sent once");
        assert_eq!(world.refreshes(), refreshes + 1);
        assert_eq!(caller.send(&request).await.status().await, 200, "the token is a new one");
        world.upstream.received().await;
    }
    world.refuse(1);
    assert_eq!(caller.send(post(&world.host, &world.token, &fits)).await.status().await, 200);
    // Refused twice: the authorization is worth nothing any more.
    world.refuse(2);
    let (head, _) = caller.send(post(&world.host, &world.token, &fits)).await.response().await;
    assert_eq!(status(&head), 401);
    assert!(field(&head, "www-authenticate").unwrap().contains("resource_metadata="), "{head}");
}

#[tokio::test]
async fn a_body_of_http_2_without_a_length_is_sent_again() {
    const DOMAIN: &str = "gw.test";
    let authority = Authority::new("test");
    let tls = authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]);
    let mut notes = RawUpstream::start(|_, mut connection| async move {
        // Closed after the first request, so that the second is lost on a connection that was used before.
        connection.request().await;
        connection.send(OK).await;
        connection.request().await;
    })
    .await;
    let configured = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
        config.upstream.push(upstream(&configured, UpstreamAuth::None));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = format!("{}.{DOMAIN}", crate::gateway::label(&notes.authority));
    let frames = Frames::connect(&authority, gateway.port(), &host).await;
    let pieces =
        [r#"{"jsonrpc":"2.0","#, r#""id":1,"method":"tools/list"}"#].map(|text| Bytes::from_static(text.as_bytes()));
    for _ in 0..2 {
        let request = http::Request::post(format!("https://{host}:{}/mcp", gateway.port()))
            .header("authorization", format!("Bearer {token}"));
        assert_eq!(frames.post(request, &pieces).await.0, StatusCode::OK);
    }
    for _ in 0..3 {
        assert_eq!(notes.received().await.body, pieces.concat());
    }
}

/// A gateway in front of an upstream that answers nobody before it may.
async fn holding(kept_body: u64, kept_total: u64) -> (Arc<Semaphore>, RawUpstream, Gateway) {
    let release = Arc::new(Semaphore::new(0));
    let gate = release.clone();
    let notes = RawUpstream::start(move |_, mut connection| {
        let gate = gate.clone();
        async move {
            while connection.request().await.is_some() {
                let _ = gate.acquire().await;
                connection.send(OK).await;
            }
        }
    })
    .await;
    let configured = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        (config.server.kept_body, config.server.kept_total) = (kept_body, kept_total);
        let often = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
        let limits = &mut config.limits;
        for limit in [&mut limits.per_ip, &mut limits.per_user, &mut limits.per_user_upstream, &mut limits.per_client] {
            *limit = often;
        }
        config.upstream.push(upstream(&configured, UpstreamAuth::None));
    })
    .await;
    (release, notes, gateway)
}

#[tokio::test]
async fn a_thousand_bodies_at_once_stay_within_the_budget_and_all_arrive() {
    const CALLERS: usize = 1000;
    const BUDGET: u64 = 1 << 20;
    let (release, mut notes, gateway) = holding(4096, BUDGET).await;
    let (host, (token, _)) = (gateway.host_of(&notes.authority), gateway.token_for(&notes.authority).await);
    let body = "x".repeat(4096);
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let mut caller = Caller::connect(gateway.port()).await;
        let request = match number % 2 {
            0 => post(&host, &token, &body),
            _ => post(&host, &token, &(format!("{}\r\n", "1000") + &body + "\r\n0\r\n\r\n"))
                .replace("Content-Length: 4109", "Transfer-Encoding: chunked"),
        };
        caller.send(request).await;
        callers.push(caller);
    }
    for _ in 0..CALLERS {
        assert_eq!(notes.received().await.body.len(), body.len());
        assert!(kept(&gateway) <= BUDGET as i64);
    }
    assert!(kept(&gateway) > BUDGET as i64 * 9 / 10, "{}", kept(&gateway));
    release.add_permits(CALLERS);
    for mut caller in callers {
        assert_eq!(caller.status().await, 200);
    }
    assert_eq!(kept(&gateway), 0);
}

#[tokio::test]
async fn a_body_that_nobody_finishes_gives_back_what_it_took() {
    let notes = RawUpstream::answering(OK).await;
    let configured = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.limits.connections.body_timeout = Duration::from_millis(200);
        config.upstream.push(upstream(&configured, UpstreamAuth::None));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let whole = post(&gateway.host_of(&notes.authority), &token, &"x".repeat(1000));
    for request in [
        whole[..whole.len() - 1].to_owned(),
        whole.replace("Content-Length: 1000", "Transfer-Encoding: chunked").replace("\r\n\r\nx", "\r\n\r\n800\r\nx"),
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        assert_eq!(caller.send(request).await.status().await, 408);
        assert_eq!(kept(&gateway), 0);
    }
}
