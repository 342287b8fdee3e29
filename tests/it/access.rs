//! Who may use what: permissions by person and group, in the flow, at refresh, at every request, and for what is open; and
//! people who may not sign in any more.

use crate::client::{Client, alice, mcp_url, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, SOON, field, get, post, status};
use crate::revocation::{BOB, Session, command};
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::config::{Permitted, UpstreamAuth};
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::secret::Secret;
use portcullis::store::UpstreamAccess;
use serde_json::Value;
use std::time::Instant;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn only(users: &[&str], groups: &[&str]) -> Option<Permitted> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Some(Permitted { users: texts(users), groups: texts(groups) })
}

/// A gateway with one upstream that is for Alice and the group `dev`, and Bob, who is in no group.
async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        let mut notes = upstream(&authority, UpstreamAuth::OAuth(Box::default()));
        notes.allowed = only(&["ALICE"], &["dev"]);
        config.upstream.push(notes);
    })
    .await;
    gateway.add(BOB).await;
    (notes, gateway)
}

fn bob() -> Credentials {
    Credentials { user: BOB.to_owned(), password: PASSWORD.to_owned() }
}

async fn page(browser: &Browser, url: &str) -> Page {
    match browser.open(url, "").await.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

/// What somebody who may not use the upstream is told there: 403 without a challenge, so that no client runs the flow.
async fn assert_forbidden(gateway: &Gateway, authority: &str, token: &str) {
    let mut caller = Caller::connect(gateway.port()).await;
    let (head, body) = caller.send(post(&gateway.host_of(authority), token, LIST)).await.response().await;
    assert_eq!(status(&head), 403, "{head}{body}");
    assert_eq!(field(&head, "www-authenticate"), None);
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(error["error"]["message"].as_str().unwrap().contains("ask an administrator"), "{error}");
}

#[tokio::test]
async fn somebody_without_permission_is_told_before_the_upstream_is_asked_anything() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let start = client.authorization_url(&[]);
    let login = page(&client.browser, &start).await;
    let Arrived::Page(refused) = client.browser.fill_login(&login, &bob(), "").await.unwrap() else { panic!() };
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text().contains("You may not use this server"), "{}", refused.text());
    assert!(refused.text().contains("Ask an administrator"), "{}", refused.text());
    // Neither the approving button nor the address of a later step helps.
    let flow = refused.url.query_pairs().find(|(name, _)| name == "flow");
    let from_dashboard = format!("{}/oauth/start?server={}", gateway.root(), notes.authority());
    assert_eq!(page(&client.browser, &from_dashboard).await.status, StatusCode::FORBIDDEN);
    assert!(notes.mcp.control.recorder().requests().is_empty() && notes.authorization.seen().is_empty());

    let cancel = refused.body.split("href=\"").find_map(|rest| {
        let target = rest.split('"').next()?.replace("&amp;", "&").replace("&#38;", "&");
        target.contains("cancel=").then_some(target)
    });
    let cancel = format!("{}{}", gateway.root(), cancel.unwrap_or_else(|| panic!("no way out: {flow:?}")));
    let Arrived::Stopped(back) = client.browser.open(&cancel, &client.redirect_uri).await.unwrap() else { panic!() };
    assert!(back.as_str().contains("error=access_denied"), "{back}");
}

#[tokio::test]
async fn a_group_lets_in_and_leaving_it_ends_what_is_open_but_revokes_nothing() {
    let (notes, gateway) = setup().await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    command(&gateway, &["user", "group", "add", BOB, "dev"]).await;
    // Nobody has told the gateway's memory yet: whoever is just permitted is not turned away.
    let mut bobs = Session::open(&gateway, &notes, BOB).await;

    let began = Instant::now();
    command(&gateway, &["user", "group", "remove", BOB, "dev"]).await;
    bobs.streams_end(began).await;
    assert!(began.elapsed() < SOON);
    assert_forbidden(&gateway, &notes.authority(), &bobs.tokens.access).await;
    let (status, answer) = bobs.client.refresh(&bobs.tokens.refresh).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &"invalid_grant".into()));
    assert!(answer["error_description"].as_str().unwrap().contains("administrator"), "{answer}");
    alices.goes_on(&notes).await;
    let home = page(&bobs.client.browser, &format!("{}/connections", gateway.root())).await;
    assert!(home.text().contains("You may not use it any more"), "{}", home.text());
    assert!(!home.body.contains("/oauth/start"), "nothing to reconnect");

    command(&gateway, &["user", "group", "add", BOB, "dev"]).await;
    let (status, answer) = bobs.client.refresh(&bobs.tokens.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(bobs.client.call(&bobs.tokens.access, "whoami").await.0, StatusCode::OK, "the old token is good again");
    assert_eq!(notes.authorization.counters().authorizations, 2, "nobody had to connect again");
}

#[tokio::test]
async fn administrators_are_no_exception_and_an_empty_list_is_nobody() {
    let (notes, gateway) = setup().await;
    let (token, _) = gateway.token_for(&notes.authority()).await;
    for allowed in [only(&[BOB], &[]), only(&[], &[])] {
        gateway.reload(move |config| config.upstream[0].allowed = allowed).await.unwrap();
        assert_forbidden(&gateway, &notes.authority(), &token).await;
    }
}

#[tokio::test]
async fn another_configuration_takes_permissions_away_and_gives_them() {
    let (notes, gateway) = setup().await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    gateway.reload(|config| config.upstream[0].allowed = None).await.unwrap();
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    alices.goes_on(&notes).await;
    let began = Instant::now();
    gateway.reload(|config| config.upstream[0].allowed = only(&[USER], &[])).await.unwrap();
    bobs.streams_end(began).await;
    alices.goes_on(&notes).await;
    assert_forbidden(&gateway, &notes.authority(), &bobs.tokens.access).await;
}

#[tokio::test]
async fn administrators_permit_what_the_configuration_does_not_name() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    gateway.add(BOB).await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    let began = Instant::now();
    command(&gateway, &["upstream", "allow", &notes.authority(), "--user", USER]).await;
    bobs.streams_end(began).await;
    alices.goes_on(&notes).await;
    assert_forbidden(&gateway, &notes.authority(), &bobs.tokens.access).await;
    command(&gateway, &["upstream", "reset", &notes.authority()]).await;
    assert_eq!(bobs.client.refresh(&bobs.tokens.refresh).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a43_nobody_falls_back_to_what_the_configuration_gives_to_others() {
    let mut raw = RawUpstream::start(|_, mut connection| async move {
        while connection.request().await.is_some() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(format!("{head}c\r\ndata: open\n\n\r\n")).await;
            // The stream stays open until the gateway leaves.
        }
    })
    .await;
    let authority = raw.authority.clone();
    let gateway = Gateway::with(move |config| {
        let (name, value) = (http::HeaderName::from_static("x-api-key"), Secret::new("the operator's".to_owned()));
        let mut shared = upstream(&authority, UpstreamAuth::Header { name, value });
        shared.allowed = only(&[USER, BOB], &[]);
        config.upstream.push(shared);
    })
    .await;
    gateway.add(BOB).await;
    let host = gateway.host_of(&raw.authority);
    let mut streams = Vec::new();
    for person in [USER, BOB] {
        let (token, _) = gateway.token_of(person, &raw.authority).await;
        let mut stream = Caller::connect(gateway.port()).await;
        stream.send(get(&host, &token, "/mcp")).await.until("data: open").await;
        assert_eq!(raw.received().await.field("x-api-key"), Some("the operator's"));
        streams.push((stream, token));
    }
    gateway.reload(|config| config.upstream[0].allowed = only(&[USER], &[])).await.unwrap();
    let (bobs, token) = &mut streams[1];
    bobs.until("\r\n0\r\n\r\n").await;
    assert_forbidden(&gateway, &raw.authority, token).await;
    assert!(!raw.has_received());
    let (_, token) = &streams[0];
    let mut again = Caller::connect(gateway.port()).await;
    again.send(get(&host, token, "/mcp")).await.until("data: open").await;
}

#[tokio::test]
async fn whoever_waits_while_the_permission_goes_is_not_sent_through_the_flow() {
    let mut silent = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let authority = silent.authority.clone();
    let gateway = Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await;
    let (token, _) = gateway.token_for(&silent.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&silent.authority), &token, "/mcp")).await;
    silent.received().await;
    gateway.reload(|config| config.upstream[0].allowed = only(&[BOB], &[])).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, caller.status()).await.unwrap(), 403);
}

#[tokio::test]
async fn somebody_new_of_a_name_gets_what_the_configuration_says_and_not_what_was_said_about_another() {
    let notes = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let other = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.upstreams.unknown = portcullis::config::Unknown::Allow;
        let mut named = upstream(&authority, UpstreamAuth::None);
        named.allowed = only(&["Bob"], &[]);
        config.upstream.push(named);
    })
    .await;
    let revocations = &gateway.app().revocations;
    let first = gateway.add(BOB).await;
    let access = UpstreamAccess { authority: other.authority.clone(), users: vec![first], groups: Vec::new() };
    revocations.restrict(&access).await.unwrap();
    revocations.person(first).await.unwrap().unwrap();
    let second = gateway.add(BOB).await;
    let registry = &gateway.app().registry;
    let authority = |text: &str| portcullis::hostname::Authority::parse(text).unwrap();
    assert!(registry.permits(second, &authority(&notes.authority)).await.unwrap());
    assert!(!registry.permits(second, &authority(&other.authority)).await.unwrap());
}

#[tokio::test]
async fn a_disabled_person_is_out_everywhere_and_comes_back_to_the_old_connections() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    gateway.add(BOB).await;
    let mut alices = Session::open(&gateway, &notes, USER).await;
    let mut bobs = Session::open(&gateway, &notes, BOB).await;
    let began = Instant::now();
    let said = command(&gateway, &["user", "disable", BOB]).await;
    assert_eq!(said, "disabled bob: sessions and grants ended, connections stay\n");
    bobs.has_ended(began, "invalid_token").await;
    assert_eq!(bobs.client.refresh(&bobs.tokens.refresh).await.0, StatusCode::BAD_REQUEST);
    let start = bobs.client.authorization_url(&[]);
    let login = page(&bobs.client.browser, &start).await;
    assert!(login.form_with("password").is_some(), "signed out: {}", login.text());
    let Arrived::Page(refused) = bobs.client.browser.fill_login(&login, &bob(), "").await.unwrap() else { panic!() };
    assert!(refused.form_with("password").is_some(), "{}", refused.text());
    alices.goes_on(&notes).await;

    command(&gateway, &["user", "enable", BOB]).await;
    let authorizations = notes.authorization.counters().authorizations;
    assert_eq!(bobs.client.refresh(&bobs.tokens.refresh).await.0, StatusCode::BAD_REQUEST, "grants have ended");
    let callback = bobs.client.browser.authorize(&start, &bob(), &bobs.client.redirect_uri).await.unwrap();
    let tokens = bobs.client.exchange(&callback.code.unwrap()).await;
    assert_eq!(bobs.client.call(&tokens.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(notes.authorization.counters().authorizations, authorizations, "the upstream was not asked again");
}

/// The roles of a token's or session's person are read anew, so there is nothing to end.
#[tokio::test]
async fn a_demoted_administrator_approves_nothing_any_more() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    gateway.add(BOB).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let login = page(&client.browser, &client.authorization_url(&[])).await;
    let Arrived::Page(approval) = client.browser.fill_login(&login, &alice(), "").await.unwrap() else { panic!() };
    command(&gateway, &["user", "role", BOB, "administrator"]).await;
    command(&gateway, &["user", "role", USER, "member"]).await;
    let form = approval.form_with("decision").unwrap_or_else(|| panic!("{}", approval.text()));
    let sent = client.browser.submit(&approval, &form, &[("decision", "approve")], "").await.unwrap();
    let Arrived::Page(refused) = sent else { panic!() };
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(gateway.app().store.upstreams().await.unwrap().is_empty());
    let servers = send(&client.browser, Method::GET, &format!("{}/servers", gateway.root()), &[], None).await;
    assert_eq!(servers.status, StatusCode::FORBIDDEN);
}
