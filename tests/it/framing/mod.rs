//! A differential fuzzer of framing: what callers send in HTTP/1.0, 1.1 and 2, beside what a strict reader finds in it, and what the
//! upstream gets of it. Nothing but whole requests of callers may arrive there, each with its own body, once.
//!
//! `make fuzz-framing` runs it for long. A failure names its seed; `PORTCULLIS_FUZZ_SEED` repeats it.

mod one;
mod strict;
mod two;
mod upstream;

use crate::chaos_proxy::Numbers;
use crate::gateway::{Gateway, label, upstream as configured, without_rates};
use crate::h2_attacks::{Frames, GOAWAY, PREFACE, RST_STREAM, frame};
use crate::raw::PATIENCE;
use crate::tls_peers::Authority;
use one::Caller;
use parking_lot::Mutex;
use portcullis::config::{Config, UpstreamAuth};
use portcullis::secret::Secret;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use strict::End;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use upstream::{CREDENTIAL, Upstream, answers};

const DOMAIN: &str = "gw.test";
/// How many connections are open at once.
const AT_ONCE: u64 = 6;
/// No connection has more requests.
const NUMBERS: u64 = 100;
/// An unfinished message is given up after this long.
const UNFINISHED: Duration = Duration::from_secs(4);

/// How many connections there are, and the seed of the first.
fn extent(usual: u64) -> (u64, u64) {
    #[allow(clippy::disallowed_methods)] // a test has no configuration
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("PORTCULLIS_FUZZ_SEED") {
        Some(seed) => (seed, 1),
        None => (number("PORTCULLIS_FUZZ_FIRST").unwrap_or(1), number("PORTCULLIS_FUZZ_CONNECTIONS").unwrap_or(usual)),
    }
}

/// A gateway in front of a strict upstream.
struct Stage {
    gateway: Gateway,
    upstream: Upstream,
    caller: Caller,
    /// Bodies of streams that were reset before anybody had answered: one that is whole by its length may be on its way.
    reset: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Stage {
    async fn new(edit: impl Fn(&mut Config) + Send + Sync + 'static, host: impl Fn(&Gateway, &str) -> String) -> Self {
        let upstream = Upstream::start().await;
        let address = upstream.authority.clone();
        let gateway = Gateway::with(move |config| {
            without_rates(config);
            config.limits.connections.head_timeout = UNFINISHED;
            config.limits.connections.body_timeout = UNFINISHED;
            let (name, value) = (http::header::AUTHORIZATION, Secret::new(CREDENTIAL.to_owned()));
            config.upstream.push(configured(&address, UpstreamAuth::Header { name, value }));
            edit(config);
        })
        .await;
        let (token, _) = gateway.token_for(&upstream.authority).await;
        upstream.foreign.lock().clone_from(&token);
        let host = host(&gateway, &upstream.authority);
        Self { gateway, upstream, caller: Caller { host, token }, reset: Mutex::default() }
    }

    /// The bodies of the requests of one connection that came in.
    fn seen(&self, first: u64, seed: u64) -> HashMap<u64, Vec<u8>> {
        let mut seen = self.upstream.seen.lock();
        assert!(seen.offences.is_empty(), "PORTCULLIS_FUZZ_SEED={seed}: {:#?}", seen.offences);
        let numbers: Vec<u64> = (first..first + NUMBERS).filter(|number| seen.bodies.contains_key(number)).collect();
        let mut bodies = HashMap::new();
        for number in numbers {
            let mut of_number = seen.bodies.remove(&number).unwrap();
            assert_eq!(of_number.len(), 1, "PORTCULLIS_FUZZ_SEED={seed}: {number} came in more than once");
            bodies.insert(number, of_number.remove(0));
        }
        bodies
    }

    /// What came in late is what somebody sent, and the rest is nobody's.
    fn assert_nothing_else(&self) {
        let (seen, reset) = (self.upstream.seen.lock(), self.reset.lock());
        assert!(seen.offences.is_empty(), "{:#?}", seen.offences);
        for (number, bodies) in &seen.bodies {
            let meant = reset.get(number).unwrap_or_else(|| panic!("{number} is nobody's"));
            assert!(bodies[..] == [meant.clone()], "{number} has another body");
        }
    }
}

#[tokio::test]
async fn a27_a29_no_framing_of_http1_becomes_another_request() {
    let (first, count) = extent(200);
    let stage = Stage::new(|_| {}, Gateway::host_of).await;
    let mut tally = Tally::default();
    for seeds in (first..first + count).collect::<Vec<_>>().chunks(AT_ONCE as usize) {
        let running = seeds.iter().map(|seed| one_connection(&stage, *seed));
        futures_util::future::join_all(running).await.into_iter().for_each(|one| tally.add(&one));
        if tally.is_news() {
            println!("as far as seed {}: {tally:?}", seeds.last().unwrap());
        }
    }
    stage.assert_nothing_else();
    println!("{tally:?}");
    tally.assert_meaningful(count);
}

#[tokio::test]
async fn a27_no_framing_of_http2_becomes_another_request() {
    let (first, count) = extent(120);
    let authority = Authority::new("test");
    let tls = authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]);
    let edit = move |config: &mut Config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
    };
    let host = |gateway: &Gateway, authority: &str| format!("{}.{DOMAIN}:{}", label(authority), gateway.port());
    let stage = Stage::new(edit, host).await;
    let mut tally = Tally::default();
    for seeds in (first..first + count).collect::<Vec<_>>().chunks(AT_ONCE as usize) {
        let running = seeds.iter().map(|seed| two_connection(&stage, &authority, *seed));
        futures_util::future::join_all(running).await.into_iter().for_each(|one| tally.add(&one));
        if tally.is_news() {
            println!("as far as seed {}: {tally:?}", seeds.last().unwrap());
        }
    }
    stage.assert_nothing_else();
    println!("{tally:?}");
    tally.assert_meaningful(count);
}

/// What became of connections.
#[derive(Debug, Default)]
struct Tally {
    connections: u64,
    /// Requests that nobody could take for anything else.
    plain: usize,
    /// Those that reached the upstream.
    forwarded: usize,
    /// Connections of HTTP/1, and streams of HTTP/2, with something doubtful in them.
    doubtful: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.plain += other.plain;
        self.forwarded += other.forwarded;
        self.doubtful += other.doubtful;
    }

    /// Now and then, for whoever waits long.
    fn is_news(&self) -> bool {
        self.connections % 6000 < AT_ONCE
    }

    /// A fuzzer that nothing gets through finds nothing.
    fn assert_meaningful(&self, count: u64) {
        let enough = self.forwarded as u64 > count / 6 && self.doubtful > count / 6;
        assert!(count < 20 || enough, "{self:?}");
    }
}

/// One connection of HTTP/1, from its seed.
async fn one_connection(stage: &Stage, seed: u64) -> Tally {
    let mut numbers = Numbers(seed);
    let first = seed * NUMBERS;
    let bytes = one::connection(&mut numbers, &stage.caller, first);
    let reading = strict::read(&bytes, &stage.caller.host);
    let stream = TcpStream::connect(("127.0.0.1", stage.gateway.port())).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let step = 1 + numbers.below(bytes.len() as u64) as usize;
    let sending = async {
        // Whoever is refused need not take the rest.
        for piece in bytes.chunks(step) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
        }
        writer
    };
    let (done, mut stop) = tokio::sync::oneshot::channel::<()>();
    let waits = match reading.end {
        End::Broken => true,
        // Trailers may have swallowed the last request.
        End::Whole => reading.requests.last().is_none_or(|last| last.persists),
        // Some answer is to come, or the end.
        End::Doubt => false,
    };
    let receiving = async {
        let (mut got, mut done) = (Vec::new(), Some(done));
        loop {
            // The rest of a message that is not whole is not waited for once all others are answered.
            if waits && finals(&got) >= reading.requests.len() {
                done.take().map(|done| done.send(()));
            }
            if !matches!(reader.read_buf(&mut got).await, Ok(1..)) {
                return got;
            }
        }
    };
    let sending = async {
        let mut writer = sending.await;
        if (&mut stop).await.is_ok() {
            let _ = writer.shutdown().await;
        }
        writer
    };
    let both = async { tokio::join!(sending, receiving) };
    let (_writer, got) = tokio::time::timeout(PATIENCE, both)
        .await
        .unwrap_or_else(|_| panic!("PORTCULLIS_FUZZ_SEED={seed}: the connection stayed open: {:?}", reading.end));
    let finals = finals(&got);
    let got = String::from_utf8_lossy(&got).into_owned();
    let context = || format!("PORTCULLIS_FUZZ_SEED={seed}\nsent: {}\ngot: {got}\n{reading:#?}", bytes.escape_ascii());

    let answered = answers(&got);
    let seen = stage.seen(first, seed);
    for (number, body) in &seen {
        let meant = reading.requests.iter().find(|request| request.number == Some(*number));
        let meant = meant.unwrap_or_else(|| panic!("{number} is no request of its caller's\n{}", context()));
        assert!(*body == meant.body, "{number} has another body: {}\n{}", body.escape_ascii(), context());
        assert!(answered.contains(number), "{number} came in and was not answered\n{}", context());
    }
    assert!(answered.len() == seen.len() && answered.is_sorted(), "{answered:?}\n{}", context());
    let most = reading.requests.len() + usize::from(reading.end != End::Whole);
    assert!(finals <= most, "{finals} answers\n{}", context());
    let is_doubt_answered = reading.end == End::Doubt && finals > reading.requests.len();
    if finals < reading.requests.len() || is_doubt_answered {
        // Something was refused, and nothing came after that. A doubtful body may be found out too late for an answer: then the
        // connection has ended without one.
        let last = got.rsplit("HTTP/1.1 ").next().unwrap().to_ascii_lowercase();
        let broke_off = last.starts_with("200") || last.is_empty();
        assert!(broke_off || last.contains("connection: close"), "the connection was to go on\n{}", context());
    }
    // What nobody could refuse was not refused.
    let plain = reading.requests.iter().take_while(|request| request.plain);
    let plain: Vec<u64> = plain.filter_map(|request| request.number).collect();
    assert!(plain.iter().all(|number| seen.contains_key(number)), "a plain request did not arrive\n{}", context());
    Tally { connections: 1, plain: plain.len(), forwarded: seen.len(), doubtful: u64::from(reading.end == End::Doubt) }
}

/// How many final answers have begun.
fn finals(got: &[u8]) -> usize {
    let got = String::from_utf8_lossy(got);
    got.matches("HTTP/1.1 ").count() - got.matches("HTTP/1.1 100 ").count()
}

/// One connection of HTTP/2.
async fn two_connection(stage: &Stage, authority: &Authority, seed: u64) -> Tally {
    let mut numbers = Numbers(seed);
    let first = seed * NUMBERS;
    let count = 1 + numbers.below(6);
    // Whom one stream spoils a connection for could not have shown anything. Of a hundred streams, sixty are plain.
    let spoiled = !numbers.once_in(3);
    let stream = authority.connect(stage.gateway.port(), DOMAIN, "h2").await;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut frames = Frames::new(reader);
    // SETTINGS without a setting.
    writer.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    let mut sent = HashMap::new();
    for position in 0..count {
        let number = first + position;
        let plain = !spoiled || numbers.below(5) < 2;
        let one = two::stream(&mut numbers, &stage.caller, number, 2 * u32::try_from(position).unwrap() + 1, plain);
        if writer.write_all(&one.frames).await.is_err() || writer.flush().await.is_err() {
            break;
        }
        sent.insert(number, one);
    }
    let mut open: HashSet<u32> = (0..u32::try_from(count).unwrap()).map(|position| 2 * position + 1).collect();
    let (mut got, mut is_whole) = (Vec::new(), true);
    let receiving = async {
        while !open.is_empty() {
            let Some(frame) = frames.next().await else {
                is_whole = false;
                return;
            };
            match frame.kind {
                0 => got.extend_from_slice(&frame.payload),
                RST_STREAM => drop(open.remove(&frame.stream)),
                GOAWAY => {
                    is_whole = false;
                    let last = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                    open.retain(|stream| *stream <= last);
                }
                _ => {}
            }
            if frame.ends_stream() {
                open.remove(&frame.stream);
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, receiving).await;
    done.unwrap_or_else(|_| panic!("PORTCULLIS_FUZZ_SEED={seed}: streams were left open"));
    let got = String::from_utf8_lossy(&got).into_owned();
    let answered: HashSet<u64> = answers(&got).into_iter().collect();
    let seen = stage.seen(first, seed);
    let mut tally = Tally { connections: 1, forwarded: seen.len(), ..Tally::default() };
    for (number, body) in &seen {
        let meant = sent.get(number);
        let meant =
            meant.unwrap_or_else(|| panic!("PORTCULLIS_FUZZ_SEED={seed}: {number} is no request of its caller's"));
        assert!(*body == meant.body, "PORTCULLIS_FUZZ_SEED={seed}: {number} has another body: {}", body.escape_ascii());
    }
    let all_plain = sent.values().all(|one| one.plain);
    let unseen = sent.iter().filter(|(number, _)| !seen.contains_key(*number));
    stage.reset.lock().extend(unseen.map(|(number, one)| (*number, one.body.clone())));
    for (number, one) in &sent {
        tally.plain += usize::from(one.plain);
        tally.doubtful += u64::from(!one.plain);
        // A connection may end with the first thing that no client sends; where it did not, one stream's fault is no other's.
        let must = one.plain && (all_plain || is_whole);
        assert!(!must || seen.contains_key(number), "PORTCULLIS_FUZZ_SEED={seed}: {number} did not arrive");
    }
    assert!(answered.iter().all(|number| seen.contains_key(number)), "PORTCULLIS_FUZZ_SEED={seed}: {answered:?}");
    assert!(open.is_empty() || !all_plain, "PORTCULLIS_FUZZ_SEED={seed}: {open:?}");
    tally
}
