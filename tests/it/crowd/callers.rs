//! Connections that carry the requests of everybody, one after the other or all at once.

use super::upstreams::{Upstreams, whose};
use super::{DOMAIN, Person, Standing};
use crate::gateway::label;
use crate::raw::{PATIENCE, field, status};
use crate::tls_peers::Authority;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify, watch};
use tokio_rustls::client::TlsStream;

/// Who comes next: everybody at both upstreams, as often as there are rounds, no two neighbours after each other.
pub struct Plan {
    pub people: Arc<Vec<Person>>,
    turns: usize,
    next: AtomicUsize,
    moved: Notify,
    /// So many turns may be taken: what happens meanwhile is not to come when all is over.
    allowed: watch::Sender<usize>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub requests: usize,
    pub answered: usize,
    /// What was taken away before.
    pub refused: usize,
    /// What was being taken away, whatever the answer.
    pub unsettled: usize,
    pub reconnected: usize,
}

/// One who takes turns over a connection.
#[derive(Clone)]
pub struct Caller {
    pub plan: Arc<Plan>,
    pub upstreams: Arc<Upstreams>,
    pub trusted: Arc<Authority>,
    pub ports: Vec<u16>,
    /// The node that it begins with.
    pub first: usize,
}

impl Plan {
    pub fn new(people: Arc<Vec<Person>>, rounds: usize) -> Self {
        let turns = people.len() * 2 * rounds;
        Self { people, turns, next: AtomicUsize::new(0), moved: Notify::new(), allowed: watch::Sender::new(0) }
    }

    /// Whose turn it is, at which upstream, with a mark that is nobody else's.
    async fn take(&self) -> Option<(&Person, usize, String)> {
        let turn = self.next.fetch_add(1, Ordering::SeqCst);
        self.moved.notify_waiters();
        if turn < self.turns {
            self.allowed.subscribe().wait_for(|allowed| turn < *allowed).await.unwrap();
        }
        let each = self.people.len() * 2;
        // A step that shares no factor with the number of turns visits all of them once in a round.
        let step = (each * 5 / 8..).find(|step| gcd(*step, each) == 1).unwrap_or(1);
        let place = (turn % each) * step % each;
        let person = &self.people[place / 2];
        (turn < self.turns).then(|| (person, place % 2, format!("canary-{}-{turn}", person.number)))
    }

    /// Lets so many parts of the turns be taken.
    pub fn allow(&self, parts: usize, of: usize) {
        self.allowed.send_replace(self.turns * parts / of);
    }

    /// Waits until so many parts of the turns are taken.
    pub async fn reached(&self, parts: usize, of: usize) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.next.load(Ordering::SeqCst) >= self.turns * parts / of {
                return;
            }
            moved.await;
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unsettled += other.unsettled;
        self.reconnected += other.reconnected;
    }

    /// An answer is the person's own, or there is none because something was taken away.
    fn judge(&mut self, person: &Person, (which, canary): (usize, &str), before: Standing, answer: (u16, &str)) {
        self.requests += 1;
        let (status, body) = answer;
        if status == 200 {
            let text = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(body);
            let answer: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{canary}: {body}"));
            assert_eq!(answer["result"]["canary"], canary, "somebody else's answer");
            let shown = answer["result"]["shown"].as_str().unwrap();
            assert_eq!(whose(which, shown), Some(person.number), "{canary} went with {shown}");
        }
        // Standing only ever gets worse, so that what it was before and is now is what it was in between.
        match (before, *person.standing[which].read()) {
            (Standing::Whole, Standing::Whole) => {
                assert_eq!(status, 200, "{canary}: {body}");
                self.answered += 1;
            }
            (Standing::Gone, _) => {
                assert_eq!(status, 401, "{canary} goes on after its end: {body}");
                self.refused += 1;
            }
            _ => {
                assert!(matches!(status, 200 | 401), "{canary}: {status} {body}");
                self.unsettled += 1;
            }
        }
    }
}

impl Caller {
    /// Takes turns until there are no more, each over the connection that `how` keeps.
    pub async fn call(self, mut how: Transport) -> Report {
        let mut report = Report::default();
        while let Some((person, which, canary)) = self.plan.take().await {
            let host = format!("{}.{DOMAIN}", label(&self.upstreams.addresses[which]));
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"canary": canary}}).to_string();
            let before = *person.standing[which].read();
            let answer = loop {
                let asked = how.ask(&self, (&host, &person.tokens[which], &body));
                let asked = tokio::time::timeout(4 * PATIENCE, asked).await;
                if let Some(answer) = asked.expect("no answer in time") {
                    break answer;
                }
                // The node went away, or ended the connection in good order; there is another one.
                report.reconnected += 1;
                tokio::task::yield_now().await;
            };
            report.judge(person, (which, &canary), before, (answer.0, &answer.1));
        }
        report
    }

    async fn connect(&self, attempt: usize, protocol: &str) -> Option<TlsStream<TcpStream>> {
        let port = self.ports[(self.first + attempt) % self.ports.len()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        self.trusted.try_handshake(stream, DOMAIN, protocol).await
    }
}

/// How a request gets there.
pub enum Transport {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Transport {
    /// Status and body of the answer to a request (host, token, body); `None` when the connection ended first.
    async fn ask(&mut self, caller: &Caller, request: (&str, &str, &str)) -> Option<(u16, String)> {
        match self {
            Self::Http1(http1) => http1.ask(caller, request).await,
            Self::Http2(http2) => http2.ask(caller, request).await,
        }
    }
}

/// A connection with one request after the other.
#[derive(Default)]
pub struct Http1 {
    stream: Option<(TlsStream<TcpStream>, Vec<u8>)>,
    attempts: usize,
}

impl Http1 {
    async fn ask(&mut self, caller: &Caller, (host, token, body): (&str, &str, &str)) -> Option<(u16, String)> {
        let (mut stream, mut buffer) = match self.stream.take() {
            Some(kept) => kept,
            None => {
                self.attempts += 1;
                (caller.connect(self.attempts, "http/1.1").await?, Vec::new())
            }
        };
        stream.write_all(crate::raw::post(host, token, body).as_bytes()).await.ok()?;
        let (head, body) = read(&mut stream, &mut buffer).await?;
        let goes_on = field(&head, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        self.stream = goes_on.then_some((stream, buffer));
        Some((status(&head), body))
    }
}

/// A message with a body of known length or of chunks, which are joined.
async fn read(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    let head = until(stream, buffer, b"\r\n\r\n").await?;
    let mut body = Vec::new();
    if let Some(length) = field(&head, "content-length") {
        body = exactly(stream, buffer, length.parse().ok()?).await?;
    } else {
        loop {
            let size = usize::from_str_radix(until(stream, buffer, b"\r\n").await?.trim(), 16).ok()?;
            let chunk = exactly(stream, buffer, size + 2).await?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some((head, String::from_utf8(body).ok()?))
}

async fn until(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
            let rest = buffer.split_off(at + end.len());
            return String::from_utf8(std::mem::replace(buffer, rest)).ok();
        }
        stream.read_buf(buffer).await.ok().filter(|read| *read > 0)?;
    }
}

async fn exactly(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        stream.read_buf(buffer).await.ok().filter(|read| *read > 0)?;
    }
    let rest = buffer.split_off(length);
    Some(std::mem::replace(buffer, rest))
}

/// One of several who share a connection with a stream for each request.
#[derive(Clone, Default)]
pub struct Http2(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    sender: Option<h2::client::SendRequest<Bytes>>,
    attempts: usize,
}

impl Http2 {
    /// All of them, over one connection.
    pub async fn call(callers: Vec<Caller>) -> Report {
        let (shared, mut report) = (Self::default(), Report::default());
        join_all(callers.into_iter().map(|caller| caller.call(Transport::Http2(shared.clone()))))
            .await
            .iter()
            .for_each(|one| report.add(one));
        report
    }

    async fn sender(&self, caller: &Caller) -> Option<h2::client::SendRequest<Bytes>> {
        let mut shared = self.0.lock().await;
        if let Some(sender) = &shared.sender {
            return Some(sender.clone());
        }
        shared.attempts += 1;
        let stream = caller.connect(shared.attempts, "h2").await?;
        let (sender, connection) = h2::client::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        shared.sender = Some(sender.clone());
        Some(sender)
    }

    async fn exchange(
        sender: h2::client::SendRequest<Bytes>,
        (host, token, body): (&str, &str, &str),
    ) -> Option<(u16, String)> {
        let request = Request::post(format!("https://{host}/mcp"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let mut sender = sender.ready().await.ok()?;
        let (response, mut stream) = sender.send_request(request.body(()).ok()?, false).ok()?;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).ok()?;
        let (parts, mut body) = response.await.ok()?.into_parts();
        let mut text = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.ok()?;
            body.flow_control().release_capacity(chunk.len()).ok()?;
            text.extend_from_slice(&chunk);
        }
        Some((parts.status.as_u16(), String::from_utf8(text).ok()?))
    }
}

impl Http2 {
    async fn ask(&mut self, caller: &Caller, request: (&str, &str, &str)) -> Option<(u16, String)> {
        let sender = self.sender(caller).await?;
        let answer = Self::exchange(sender, request).await;
        if answer.is_none() {
            // Made anew by whoever comes next; what others have under way goes on over the old one.
            self.0.lock().await.sender = None;
        }
        answer
    }
}
