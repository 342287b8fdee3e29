//! Step-up: an upstream that asks for more scope than a connection has (DESIGN 1.6; MCP authorization, "Scope Challenge
//! Handling"). The devkit's tool `write` takes a scope that nobody is asked for at first.

use crate::client::{Client, get_json, mcp_url};
use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, post, status};
use crate::upstreams::Notes;
use http::StatusCode;
use portcullis::config::UpstreamAuth;
use portcullis::devkit::authorization_server as server;
use portcullis::devkit::browser::Arrived;
use portcullis::devkit::mcp::Misbehaviour;
use portcullis::oauth::challenge::BearerChallenge;
use serde_json::json;
use std::time::Duration;

const WRITE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"write","arguments":{}}}"#;
const BOTH: &str = "notes.read notes.write";

struct World {
    notes: Notes,
    gateway: Gateway,
    client: Client,
    /// A token from before anything was asked for.
    token: String,
}

impl World {
    async fn new() -> Self {
        let notes = Notes::start().await;
        let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
        let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
        let token = client.connect().await.access;
        Self { notes, gateway, client, token }
    }

    /// What a caller is told who wants to write.
    async fn write(&self) -> Told {
        let mut caller = Caller::connect(self.gateway.port()).await;
        caller.send(post(&self.gateway.host_of(&self.notes.authority()), &self.token, WRITE)).await;
        Told::by(&mut caller).await
    }

    /// The scopes of the last request at the upstream's authorization endpoint, and how many there were.
    fn asked(&self) -> (String, usize) {
        let seen = self.notes.authorization.seen();
        let asked: Vec<_> = seen.iter().filter(|seen| seen.endpoint == "authorize").collect();
        (asked.last().unwrap().parameter("scope").unwrap().to_owned(), asked.len())
    }

    /// The person agrees here and refuses there; the error that the client gets.
    async fn refuse_upstream(&self) -> String {
        let (browser, stop) = (&self.client.browser, &self.client.redirect_uri);
        let Arrived::Page(page) = browser.open(&self.client.authorization_url(&[]), stop).await.unwrap() else {
            panic!("no consent was asked for")
        };
        assert!(page.text().contains("notes.write"), "the consent page says what is asked for: {}", page.text());
        let Arrived::Page(page) = browser.approve(&page, stop).await.unwrap() else { panic!("not asked upstream") };
        assert!(page.url.as_str().starts_with(&self.notes.authorization.issuer()), "{}", page.url);
        let Arrived::Stopped(url) = browser.deny(&page, stop).await.unwrap() else { panic!("not sent back") };
        url.query_pairs().find(|(name, _)| name == "error").unwrap().1.into_owned()
    }
}

struct Told {
    status: u16,
    challenge: Option<BearerChallenge>,
    body: String,
}

impl Told {
    async fn by(caller: &mut Caller) -> Self {
        let (head, body) = caller.response().await;
        let challenge = field(&head, "www-authenticate").map(|value| BearerChallenge::parse(&value).unwrap());
        Self { status: status(&head), challenge, body }
    }

    /// Whether it says that the flow is to be run again. The upstream's own words arrive in any case.
    fn asks(&self) -> bool {
        assert_eq!((self.status, self.body.as_str()), (403, "more scope is required"));
        let challenge = self.challenge.as_ref().unwrap();
        match &challenge.error {
            Some(error) => {
                assert_eq!((error.as_str(), challenge.scope.as_deref()), ("insufficient_scope", Some(BOTH)));
                true
            }
            None => {
                assert_eq!(challenge.scope, None);
                false
            }
        }
    }
}

#[tokio::test]
async fn b53_more_scope_is_asked_for_by_us_and_then_by_the_upstream() {
    let world = World::new().await;
    let (notes, gateway, client) = (&world.notes, &world.gateway, &world.client);
    let mut stream = listening(&world).await;
    assert_eq!(world.asked(), ("notes.read".to_owned(), 1));

    let told = world.write().await;
    assert!(told.asks());
    let origin = gateway.url_of(&notes.authority());
    let pointer = told.challenge.unwrap().resource_metadata.unwrap();
    assert_eq!(pointer, format!("{origin}/.well-known/oauth-protected-resource/mcp"));
    assert_eq!(get_json(&client.browser, &pointer).await["scopes_supported"], json!(["notes.read", "notes.write"]));
    assert!(world.write().await.asks(), "a client that only tries again is told the same");

    // This client names no scope at all.
    let stepped = client.connect().await;
    assert_eq!(world.asked(), (BOTH.to_owned(), 2));
    assert_eq!(stepped.answer["scope"], BOTH);
    for token in [&stepped.access, &world.token] {
        let (status, body) = client.call(token, "write").await;
        assert!(status == StatusCode::OK && body.contains("written"), "{status}: {body}");
    }
    client.connect().await;
    assert_eq!(world.asked().1, 2, "nothing is missing any longer");

    assert_eq!(notes.mcp.control.push(&json!({"jsonrpc": "2.0", "method": "notifications/still_there"})), 1);
    stream.until("notifications/still_there").await;
}

#[tokio::test]
async fn what_was_asked_for_survives_a_restart() {
    let mut world = World::new().await;
    assert!(world.write().await.asks());
    world.gateway = world.gateway.restart().await;
    world.client.connect().await;
    assert_eq!(world.asked(), (BOTH.to_owned(), 2));
}

#[tokio::test]
async fn a_person_who_refuses_loses_nothing_and_is_not_asked_for_ever() {
    let world = World::new().await;
    for times in 2..=3 {
        assert!(world.write().await.asks());
        assert_eq!(world.refuse_upstream().await, "access_denied");
        assert_eq!(world.asked(), (BOTH.to_owned(), times));
        assert_eq!(world.client.call(&world.token, "whoami").await.0, StatusCode::OK);
        world.client.connect().await;
        assert_eq!(world.asked().1, times, "another authorization does not ask again");
    }
    assert!(!world.write().await.asks());
    assert!(!world.write().await.asks());
}

#[tokio::test]
async fn b69_scopes_that_are_withheld_are_asked_for_twice_and_again_after_a_while() {
    let world = World::new().await;
    world.notes.authorization.misbehave(server::Misbehaviour::WithheldScope);
    for times in 2..=3 {
        assert!(world.write().await.asks());
        world.client.connect().await;
        assert_eq!(world.asked(), (BOTH.to_owned(), times));
    }
    assert!(!world.write().await.asks());
    world.gateway.clock.advance(Duration::from_secs(600));
    assert!(world.write().await.asks());
    world.notes.authorization.behave();
    world.client.connect().await;
    assert_eq!(world.client.call(&world.token, "write").await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_upstream_that_refuses_whatever_it_granted_is_believed_in_the_end() {
    let world = World::new().await;
    for _ in 0..2 {
        world.notes.mcp.control.misbehave(Misbehaviour::InsufficientScope);
        assert!(world.write().await.asks());
        world.client.connect().await;
    }
    world.notes.mcp.control.misbehave(Misbehaviour::InsufficientScope);
    assert!(!world.write().await.asks());
}

#[tokio::test]
async fn an_upstream_s_challenges_never_reach_a_caller() {
    let world = World::new().await;
    let control = &world.notes.mcp.control;
    control.misbehave(Misbehaviour::Status(StatusCode::FORBIDDEN));
    let told = world.write().await;
    assert_eq!((told.status, told.body.as_str()), (403, "the demo server was told to say this"));
    assert!(told.challenge.is_none());
    control
        .misbehave(Misbehaviour::Headers(vec![("www-authenticate", "Bearer resource_metadata=\"https://x.example\"")]));
    assert!(world.write().await.asks());

    let refusing = RawUpstream::answering(
        "HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"a\", \
         resource_metadata=\"https://x.example/\"\r\nContent-Length: 2\r\n\r\nno",
    )
    .await;
    let authority = refusing.authority.clone();
    let gateway = Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await;
    let (token, _) = gateway.token_for(&refusing.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(&refusing.authority), &token, WRITE)).await;
    let told = Told::by(&mut caller).await;
    let challenge = told.challenge.unwrap();
    assert_eq!((told.status, told.body.as_str()), (403, "no"));
    assert_eq!((challenge.error, challenge.scope), (None, None), "nobody can be asked for scopes there");
    assert!(challenge.resource_metadata.unwrap().starts_with(&gateway.url_of(&refusing.authority)));
}

/// Clients try their refresh token before they ask a person, and a fresh token would be refused like the old one.
#[tokio::test]
async fn a_client_whose_connection_has_ended_must_run_the_flow_again() {
    let world = World::new().await;
    let client = &world.client;
    let ours = client.connect().await;
    world.notes.authorization.tokens().end_all();
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    client.connect().await;
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "nothing was revoked: {answer}");
}

/// An open stream of a session.
async fn listening(world: &World) -> Caller {
    let host = world.gateway.host_of(&world.notes.authority());
    let mut caller = Caller::connect(world.gateway.port()).await;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
        "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    let (head, _) = caller.send(post(&host, &world.token, initialize)).await.response().await;
    let (session, token) = (field(&head, "mcp-session-id").unwrap(), &world.token);
    let request = format!(
        "GET /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nMcp-Session-Id: {session}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    let head = caller.send(request).await.until("\r\n\r\n").await;
    assert_eq!(status(&head), 200);
    caller
}
