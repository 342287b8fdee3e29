//! What people and their clients do, each in a loop until it is over.

use super::tally::Outcome::{self, Fine, Injected, Wrong};
use super::world::{OUR_TTL, PEOPLE, World, who};
use crate::chaos_proxy::Numbers;
use crate::client::{Client, send};
use crate::raw::PATIENCE;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Arrived, Browser};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A killed upstream explains failures until so long after it is back: the gateway pauses for 30 s at most before it asks again.
const MOURNING: Duration = Duration::from_secs(40);
/// Pages that an administrator looks at.
const PAGES: [&str; 9] = [
    "/",
    "/account",
    "/activity",
    "/activity/log",
    "/connections",
    "/people",
    "/programs/grants",
    "/servers",
    "/system",
];

/// What an answer may be besides right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upstream {
    Sound,
    /// Its network cuts and delays.
    Torn,
    /// It is killed now and then.
    Mortal,
}

/// Everybody. The handles end soon after it is over.
pub fn begin(world: &Arc<World>, seed: u64) -> Vec<tokio::task::JoinHandle<()>> {
    let mut all = Vec::new();
    let mut number = 0;
    let mut numbers = || {
        number += 1;
        Numbers(seed ^ number << 32)
    };
    for (index, person) in PEOPLE.into_iter().enumerate() {
        let protocol = ["http/1.1", "h2"][index % 2];
        for (what, upstream) in
            [("calls", Upstream::Sound), ("calls, cut", Upstream::Torn), ("calls, killed", Upstream::Mortal)]
        {
            all.push(tokio::spawn(calls(world.clone(), what, upstream, (person, protocol), numbers())));
        }
        all.push(tokio::spawn(streams(world.clone(), (person, protocol), numbers())));
        all.push(tokio::spawn(sockets(world.clone(), person, numbers())));
        all.push(tokio::spawn(tools(world.clone(), person, numbers())));
    }
    all.push(tokio::spawn(sign_ins(world.clone(), numbers())));
    all.push(tokio::spawn(pages(world.clone(), numbers())));
    all.push(tokio::spawn(vanishing(world.clone(), numbers())));
    all
}

/// A client with tokens that it renews.
struct Session {
    client: Client,
    access: String,
    refresh: String,
    since: Instant,
}

impl Session {
    async fn open(world: &World, person: &str, authority: &str) -> Self {
        let (client, tokens) = world.client(person, authority).await;
        Self { client, access: tokens.access, refresh: tokens.refresh, since: Instant::now() }
    }

    /// A token that is good for a while. Every now and then the answer to a renewal is lost, and the client asks again.
    async fn token(&mut self, world: &World, numbers: &mut Numbers) -> String {
        if self.since.elapsed() > OUR_TTL / 2 {
            let (status, first) = self.client.refresh(&self.refresh).await;
            let again = match numbers.below(4) {
                0 => self.client.refresh(&self.refresh).await.1["refresh_token"].clone(),
                _ => first["refresh_token"].clone(),
            };
            let outcome = match status {
                StatusCode::OK if again == first["refresh_token"] => Fine,
                StatusCode::OK => Wrong("another successor".to_owned()),
                status => Wrong(format!("{status} {first}")),
            };
            if let (Some(access), Some(refresh)) = (first["access_token"].as_str(), first["refresh_token"].as_str()) {
                (self.access, self.refresh) = (access.to_owned(), refresh.to_owned());
            }
            world.tally.note("renewals of our tokens", outcome);
            self.since = Instant::now();
        }
        self.access.clone()
    }
}

/// Runs one thing; one that panics has gone wrong.
async fn attempt(world: &World, what: &'static str, work: impl Future<Output = Outcome>) {
    let outcome = AssertUnwindSafe(tokio::time::timeout(6 * PATIENCE, work)).catch_unwind().await;
    let outcome = match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Wrong("it hangs".to_owned()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Wrong(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        }
    };
    world.tally.note(what, outcome);
}

/// A pause as people and programs make them.
async fn pause(numbers: &mut Numbers, most: u64) {
    tokio::time::sleep(Duration::from_millis(1 + numbers.below(most))).await;
}

async fn calls(
    world: Arc<World>,
    what: &'static str,
    upstream: Upstream,
    (person, protocol): (&'static str, &'static str),
    mut numbers: Numbers,
) {
    let authority = match upstream {
        Upstream::Sound => &world.names.echo,
        Upstream::Torn => &world.names.chaos,
        Upstream::Mortal => &world.names.mortal,
    };
    let (http, mut session) = (world.http(protocol), Session::open(&world, person, authority).await);
    let mut number = 0;
    while world.goes_on() {
        pause(&mut numbers, 300).await;
        number += 1;
        let token = session.token(&world, &mut numbers).await;
        let canary = format!("{person}-{what}-{number}");
        let kind = numbers.below(10);
        attempt(&world, what, call(&world, (&http, upstream, authority), &token, &canary, kind)).await;
    }
}

async fn call(
    world: &World,
    (http, upstream, authority): (&reqwest::Client, Upstream, &str),
    token: &str,
    canary: &str,
    kind: u64,
) -> Outcome {
    let begun = Instant::now();
    let url = |path| world.url(authority, path);
    let bearer = format!("Bearer {token}");
    let request = match kind {
        0 => http.post(url("/upload")).header("x-canary", canary).body("u".repeat(100_000)),
        1 | 2 => http.get(url("/events")).header("x-canary", canary),
        _ => {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"canary": canary}});
            http.post(url("/mcp")).header("content-type", "application/json").body(body.to_string())
        }
    };
    let answer = async {
        let answer = request.header("authorization", bearer).send().await?;
        Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
    };
    // Heartbeats keep a stream that the network has silenced open: the caller leaves.
    let is_stream = kind == 1 || kind == 2;
    let patience = if is_stream && upstream == Upstream::Torn { PATIENCE / 6 } else { PATIENCE };
    let answer = tokio::time::timeout(patience, answer).await;
    let is_right = |body: &str| match kind {
        0 => serde_json::from_str::<Value>(body).is_ok_and(|body| body == json!({"canary": canary, "length": 100_000})),
        1 | 2 => body.contains(&format!("{canary} 5 last")),
        _ => serde_json::from_str::<Value>(body).is_ok_and(|body| body["result"]["canary"] == canary),
    };
    let is_explained = match upstream {
        Upstream::Sound => false,
        Upstream::Torn => true,
        Upstream::Mortal => world.mourned.lock().is_some_and(|back| begun < back + MOURNING),
    };
    match answer {
        Ok(Ok((200, body))) if is_right(&body) => Fine,
        Ok(Ok((status @ (502..=504), _))) if is_explained => Injected(status.to_string()),
        // The upstream's own: it saw its half of the connection end before the body did.
        Ok(Ok((400, body))) if is_explained && body.contains("request body") => {
            Injected("400 of the upstream".to_owned())
        }
        Ok(Err(_)) if is_explained => Injected("torn".to_owned()),
        Err(_) if is_explained && patience < PATIENCE => Injected("silent".to_owned()),
        Ok(Ok((status, body))) => Wrong(format!("{status} {body}")),
        Ok(Err(error)) => Wrong(format!("{error:?}")),
        Err(_) => Wrong("no answer in time".to_owned()),
    }
}

/// Streams without an end, which clients leave.
async fn streams(world: Arc<World>, (person, protocol): (&'static str, &'static str), mut numbers: Numbers) {
    let (http, mut session) = (world.http(protocol), Session::open(&world, person, &world.names.beats).await);
    while world.goes_on() {
        let token = session.token(&world, &mut numbers).await;
        let leaves = Instant::now() + Duration::from_millis(500 + numbers.below(15_000));
        attempt(&world, "streams", stream(&world, &http, &token, leaves)).await;
    }
}

async fn stream(world: &World, http: &reqwest::Client, token: &str, leaves: Instant) -> Outcome {
    let request = http.get(world.url(&world.names.beats, "/mcp")).header("authorization", format!("Bearer {token}"));
    let mut answer = match request.send().await {
        Ok(answer) if answer.status() == 200 => answer,
        Ok(answer) => return Wrong(answer.status().to_string()),
        Err(error) => return Wrong(format!("{error:?}")),
    };
    let (mut text, mut next) = (String::new(), 0);
    while Instant::now() < leaves && world.goes_on() {
        match tokio::time::timeout(PATIENCE, answer.chunk()).await {
            Ok(Ok(Some(bytes))) => text.push_str(&String::from_utf8_lossy(&bytes)),
            other => return Wrong(format!("{other:?} after {next} events")),
        }
        while let Some((event, rest)) = text.split_once("\n\n") {
            match event.strip_prefix("data: ") {
                Some(number) if number == next.to_string() => next += 1,
                None if event.starts_with(':') => {}
                _ => return Wrong(format!("{event:?} came instead of {next}")),
            }
            text = rest.to_owned();
        }
    }
    Fine
}

async fn sockets(world: Arc<World>, person: &'static str, mut numbers: Numbers) {
    let mut session = Session::open(&world, person, &world.names.echo).await;
    while world.goes_on() {
        pause(&mut numbers, 1000).await;
        let token = session.token(&world, &mut numbers).await;
        let (messages, is_polite) = (1 + numbers.below(12), numbers.below(2) == 0);
        attempt(&world, "WebSockets", socket(&world, &token, person, messages, is_polite)).await;
    }
}

async fn socket(world: &World, token: &str, person: &str, messages: u64, is_polite: bool) -> Outcome {
    let host = world.host(&world.names.echo);
    let stream = world.trust.connect(world.port, &host, "http/1.1").await;
    let mut request = format!("wss://{host}:{}/ws", world.port).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = match client_async(request, stream).await {
        Ok(open) => open,
        Err(error) => return Wrong(error.to_string()),
    };
    for number in 0..messages {
        let text = format!("{person}-{number}");
        if let Err(error) = socket.send(Message::text(text.clone())).await {
            return Wrong(error.to_string());
        }
        loop {
            match tokio::time::timeout(PATIENCE, socket.next()).await {
                Ok(Some(Ok(Message::Text(back)))) if back.as_str() == text => break,
                Ok(Some(Ok(Message::Ping(_)))) => {}
                other => return Wrong(format!("{other:?}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if is_polite {
        let _ = socket.close(None).await;
    }
    Fine
}

/// Calls of tools whose upstream has an authorization server that is in trouble now and then: nobody must notice.
async fn tools(world: Arc<World>, person: &'static str, mut numbers: Numbers) {
    let mut session = Session::open(&world, person, &world.names.notes).await;
    while world.goes_on() {
        pause(&mut numbers, 2000).await;
        let token = session.token(&world, &mut numbers).await;
        let work = async {
            match session.client.call(&token, "whoami").await {
                (StatusCode::OK, body) if body.contains("\"result\"") => Fine,
                (status, body) => Wrong(format!("{status} {body}")),
            }
        };
        attempt(&world, "tools, upstream OAuth", work).await;
    }
}

/// New clients, from nothing to a token that is revoked.
async fn sign_ins(world: Arc<World>, mut numbers: Numbers) {
    while world.goes_on() {
        pause(&mut numbers, 4000).await;
        let person = PEOPLE[numbers.below(PEOPLE.len() as u64) as usize];
        let work = async {
            let (client, tokens) = world.client(person, &world.names.echo).await;
            let ask = |token: String| {
                let (url, body) = (world.url(&world.names.echo, "/mcp"), json!({"id": 1, "params": {}}).to_string());
                let browser = &client.browser;
                async move {
                    let fields = [("authorization", token.as_str()), ("content-type", "application/json")];
                    send(browser, Method::POST, &url, &fields, Some(body)).await.status
                }
            };
            let bearer = format!("Bearer {}", tokens.access);
            let before = ask(bearer.clone()).await;
            let body = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("token", &tokens.refresh), ("client_id", &client.client_id)])
                .finish();
            let endpoint = client.endpoint("revocation_endpoint");
            let revoked = send(&client.browser, Method::POST, &endpoint, &[], Some(body)).await.status;
            let (after, (_, refused)) = (ask(bearer).await, client.refresh(&tokens.refresh).await);
            match (before.as_u16(), revoked.as_u16(), after.as_u16(), refused["error"].as_str()) {
                (200, 200, 401, Some("invalid_grant")) => Fine,
                other => Wrong(format!("{other:?}")),
            }
        };
        attempt(&world, "sign-ins and revocations", work).await;
    }
}

/// An administrator at the dashboard.
async fn pages(world: Arc<World>, mut numbers: Numbers) {
    let mut browser = None;
    while world.goes_on() {
        pause(&mut numbers, 1500).await;
        let visitor = match browser.take() {
            Some(visitor) if numbers.below(40) > 0 => visitor,
            _ => {
                let (visitor, root) = (world.browser(), world.root());
                let work = async {
                    let Ok(Arrived::Page(login)) = visitor.open(&format!("{root}/login"), "").await else {
                        return Wrong("no form".to_owned());
                    };
                    match visitor.fill_login(&login, &who(PEOPLE[0]), "").await {
                        Ok(Arrived::Page(page)) if page.status == 200 => Fine,
                        other => Wrong(format!("{other:?}")),
                    }
                };
                attempt(&world, "sign-ins at the dashboard", work).await;
                visitor
            }
        };
        let path = PAGES[numbers.below(PAGES.len() as u64) as usize];
        attempt(&world, "pages", page(&visitor, &format!("{}{path}", world.root()))).await;
        browser = Some(visitor);
    }
}

async fn page(browser: &Browser, url: &str) -> Outcome {
    match browser.open(url, "").await {
        Ok(Arrived::Page(page)) if page.status == 200 && page.url.as_str() == url => Fine,
        Ok(Arrived::Page(page)) => Wrong(format!("{} {}", page.status, page.url)),
        other => Wrong(format!("{other:?}")),
    }
}

/// Clients that go away in the middle: of the handshake, of a head, of a body, while they wait.
async fn vanishing(world: Arc<World>, mut numbers: Numbers) {
    let mut session = Session::open(&world, PEOPLE[1], &world.names.echo).await;
    let host = world.host(&world.names.echo);
    while world.goes_on() {
        pause(&mut numbers, 400).await;
        let token = session.token(&world, &mut numbers).await;
        let how = numbers.below(6);
        let work = async {
            let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
            if how == 0 {
                let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await;
                let _ = stream.set_zero_linger();
                return Fine;
            }
            let head = format!(
                "POST /mcp HTTP/1.1\r\nHost: {host}:{}\r\nAuthorization: Bearer {token}\r\nContent-Length: 5000\r\n\r\n",
                world.port
            );
            let mut stream = world.trust.handshake(stream, &host, "http/1.1").await;
            let sent = match how {
                1 => String::new(),
                2 => head[..head.len() / 2].to_owned(),
                3 => head,
                4 => head + &"x".repeat(2500),
                _ => head + &"x".repeat(5000),
            };
            let _ = stream.write_all(sent.as_bytes()).await;
            let _ = stream.flush().await;
            if how.is_multiple_of(2) {
                let _ = stream.get_ref().0.set_zero_linger();
            }
            Fine
        };
        attempt(&world, "clients that vanish", work).await;
    }
}
