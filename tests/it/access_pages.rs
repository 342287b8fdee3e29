//! The pages of servers, with a real upstream: its tools are ticked from its own list, and what was decided holds at once.

use crate::client::{Client, mcp_url, send};
use crate::gateway::{Gateway, USER};
use crate::revocation::{BOB, Session};
use crate::upstreams::Notes;
use crate::visitors::{csrf_token, encoded};
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Page;
use std::time::Instant;

/// An administrator's browser, with the way to the page of one server.
struct Administrator {
    client: Client,
    token: String,
    access: String,
    server: String,
}

impl Administrator {
    async fn new(gateway: &Gateway, notes: &Notes) -> Self {
        let client = Client::ready(&mcp_url(gateway, &notes.authority())).await;
        let access = client.connect().await.access;
        let server = format!("{}/servers/{}", gateway.root(), notes.authority());
        let page = send(&client.browser, Method::GET, &server, &[], None).await;
        Self { token: csrf_token(&page), client, access, server }
    }

    async fn get(&self, below: &str) -> Page {
        send(&self.client.browser, Method::GET, &format!("{}{below}", self.server), &[], None).await
    }

    /// What the page after a deed says.
    async fn post(&self, below: &str, fields: &[(&str, &str)]) -> String {
        let mut all = vec![("csrf_token", self.token.as_str())];
        all.extend(fields);
        let url = format!("{}{below}", self.server);
        let answer = send(&self.client.browser, Method::POST, &url, &[], Some(encoded(&all))).await;
        let Some(to) = answer.headers.get(header::LOCATION) else { return answer.body };
        let to = answer.url.join(to.to_str().unwrap()).unwrap();
        send(&self.client.browser, Method::GET, to.as_str(), &[], None).await.body
    }
}

/// The tools that a page shows: name and whether it is ticked.
fn ticks(page: &Page) -> Vec<(String, bool)> {
    let inputs = page.body.split("<input type=\"checkbox\" name=\"tool\" value=\"").skip(1);
    let tick = |rest: &str| {
        let (name, rest) = rest.split_once('"').unwrap();
        (name.to_owned(), rest.split('>').next().unwrap().contains("checked"))
    };
    inputs.map(tick).collect()
}

#[tokio::test]
async fn tools_are_ticked_from_the_live_list_and_hold_from_the_next_request_on() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    let admin = Administrator::new(&gateway, &notes).await;
    let page = admin.get("/tools").await;
    let all = ticks(&page);
    assert!(all.len() > 1 && all.iter().all(|(_, ticked)| *ticked), "{}", page.text());
    assert!(all.iter().any(|(name, _)| name == "whoami"), "{all:?}");
    assert_eq!(admin.client.call(&admin.access, "whoami").await.0, StatusCode::OK);

    let shown = || all.iter().map(|(name, _)| ("shown", name.as_str()));
    let but = |out: &'static str| {
        let ticked = all.iter().filter(move |(name, _)| name != out).map(|(name, _)| ("tool", name.as_str()));
        shown().chain(ticked).chain([("later", "allowed")]).collect::<Vec<_>>()
    };
    let told = admin.post("/tools", &but("whoami")).await;
    assert!(told.contains(&format!("Saved. {} of {} may be used.", all.len() - 1, all.len())), "{told}");
    let refused = admin.client.call(&admin.access, "whoami").await;
    assert!(refused.1.contains("not available") || refused.0 != StatusCode::OK, "{refused:?}");
    let again = ticks(&admin.get("/tools").await);
    let unticked: Vec<_> = again.iter().filter(|(_, ticked)| !ticked).map(|(name, _)| name.as_str()).collect();
    assert_eq!(unticked, ["whoami"]);

    // Only one of them, and none that appears later.
    let only: Vec<_> = shown().chain([("tool", "whoami"), ("later", "refused")]).collect();
    let told = admin.post("/tools", &only).await;
    assert!(told.contains("may not be used until somebody ticks them"), "{told}");
    assert_eq!(admin.client.call(&admin.access, "whoami").await.0, StatusCode::OK);
    let other = all.iter().map(|(name, _)| name).find(|name| *name != "whoami").unwrap();
    let refused = admin.client.call(&admin.access, other).await;
    assert!(refused.1.contains("not available") || refused.0 != StatusCode::OK, "{refused:?}");

    // Everything again: nothing is said any more.
    admin.post("/tools", &but("")).await;
    assert!(gateway.app().store.upstream_tools().await.unwrap().is_empty());
    let told = admin.post("/tools/read", &[]).await;
    assert!(told.contains(&format!("It lists {} tools.", all.len())), "{told}");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_now_is_shown_as_it_was() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    let admin = Administrator::new(&gateway, &notes).await;
    let all = ticks(&admin.get("/tools").await);
    assert!(!all.is_empty());
    // Without a connection of one's own there is nothing to ask with.
    let store = &gateway.app().store;
    for connection in store.connections().await.unwrap() {
        gateway.app().revocations.connection(connection.id).await.unwrap();
    }
    let told = admin.post("/tools/read", &[]).await;
    assert!(told.contains("You have not connected"), "{told}");
    assert_eq!(ticks(&admin.get("/tools").await), all, "what is known stays");
}

#[tokio::test]
async fn denying_a_server_ends_what_is_open_and_says_so() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    gateway.add(BOB).await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    let admin = Administrator::new(&gateway, &notes).await;
    let page = admin.get("").await.body;
    assert!(page.contains("of 2 people"), "{page}");

    let began = Instant::now();
    let told = admin.post("/permit", &[("user", USER)]).await;
    assert!(told.contains(&format!("These may use it now: {USER}")), "{told}");
    bobs.streams_end(began).await;
    alices.goes_on(&notes).await;
    let began = Instant::now();
    let told = admin.post("/deny", &[]).await;
    assert!(told.contains("Denied: nobody can use"), "{told}");
    alices.streams_end(began).await;
}

#[tokio::test]
async fn a_server_can_be_looked_at_before_anybody_decides() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    let authority = notes.authority();
    let user = gateway.add(BOB).await;
    let wish = portcullis::store::UpstreamRequest {
        authority: authority.clone(),
        user,
        client: "Claude".to_owned(),
        asked_at: gateway.app().clock.now(),
    };
    gateway.app().store.request_upstream(&wish).await.unwrap();
    let (browser, token) = crate::visitors::signed_in(&gateway).await;
    let server = format!("{}/servers/{authority}", gateway.root());
    let page = send(&browser, Method::GET, &server, &[], None).await;
    assert!(page.body.contains("<bdi>bob</bdi> asked with <bdi>Claude</bdi>"), "{}", page.text());
    assert!(notes.mcp.control.recorder().requests().is_empty(), "nobody has asked it anything");
    let body = encoded(&[("csrf_token", &token)]);
    let page = send(&browser, Method::POST, &format!("{server}/look"), &[], Some(body)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(page.body.contains("Looked at") && page.body.contains(&authority), "{}", page.text());
    assert!(!notes.mcp.control.recorder().requests().is_empty());
    assert!(gateway.app().store.upstreams().await.unwrap().is_empty(), "nothing is decided by that");
}
