//! The rooms of administrators on gateways that run: what they take back from others ends at once, and the processes that
//! serve are listed from their start to their end.

use crate::client::send;
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::raw::PATIENCE;
use crate::revocation::{BOB, Session};
use crate::upstreams::Notes;
use crate::visitors::{call, encoded, signed_in};
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Browser, Page};
use portcullis::secret::Secret;
use portcullis::store::Role;
use std::time::Instant;
use tokio::time::timeout;

#[tokio::test]
async fn what_administrators_take_back_ends_and_nothing_else() {
    let (notes, gateway) = (Notes::start().await, Gateway::start().await);
    let identity = &gateway.app().identity;
    identity.create(BOB, &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    // Whoever comes first approves the server, which takes an administrator.
    let mut hers = Session::open(&gateway, &notes, USER).await;
    let mut first = Session::open(&gateway, &notes, BOB).await;
    let mut second = Session::open(&gateway, &notes, BOB).await;
    let (browser, token) = signed_in(&gateway).await;
    let deed = async |path: &str, fields: &[(&str, &str)]| {
        let body = format!("csrf_token={token}&{}", encoded(fields));
        let page = form(&browser, &format!("{}{path}", gateway.root()), body).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}: {}", page.body);
    };

    let store = &gateway.app().store;
    let bob = store.user_by_name(BOB).await.unwrap().unwrap().id;
    let granted = store.grants_of(bob).await.unwrap();
    let grant = granted.iter().find(|grant| grant.client_id == first.client.client_id).unwrap();
    let began = Instant::now();
    deed("/programs/grants/revoke", &[("id", &grant.id.to_string())]).await;
    first.has_ended(began, "invalid_token").await;
    second.goes_on(&notes).await;

    let began = Instant::now();
    deed("/programs/clients/delete", &[("realm", &grant.realm), ("id", &second.client.client_id)]).await;
    second.has_ended(began, "invalid_token").await;
    hers.goes_on(&notes).await;
}

async fn form(browser: &Browser, url: &str, body: String) -> Page {
    send(browser, Method::POST, url, &[], Some(body)).await
}

#[tokio::test]
async fn processes_are_listed_from_their_start_to_their_end() {
    let one = Gateway::start().await;
    let other = one.another(|_| {}).await;
    let store = one.app().store.clone();
    let count = async |expected: usize| {
        while store.nodes().await.unwrap().len() != expected {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, count(2)).await.expect("a process did not say that it is there");
    let (browser, _) = signed_in(&one).await;
    let page = call(&browser, "GET", &format!("{}/system", one.root()), &[]).await;
    assert_eq!(page.body.matches(">Serves<").count(), 2, "{}", page.body);
    assert_eq!(page.body.matches("this one").count(), 1);
    other.stop().await;
    timeout(PATIENCE, count(1)).await.expect("a process that ended is still listed");
}

#[tokio::test]
async fn the_configuration_that_is_shown_is_the_one_in_force() {
    let gateway = Gateway::with(|config| config.tokens.access_ttl = std::time::Duration::from_secs(7200)).await;
    let (browser, _) = signed_in(&gateway).await;
    let shown = async || call(&browser, "GET", &format!("{}/system/configuration", gateway.root()), &[]).await.body;
    let page = shown().await;
    assert!(page.contains("<code>2h</code>") && !page.contains("waits for a restart"), "{page}");
    let reloaded = gateway.reload(|config| {
        config.tokens.access_ttl = std::time::Duration::from_secs(10_800);
        config.store.connections = 99;
    });
    assert_eq!(reloaded.await.unwrap().needs_restart, ["store.connections"]);
    let page = shown().await;
    assert!(page.contains("<code>3h</code>") && !page.contains("<code>99</code>"), "{page}");
    assert_eq!(page.matches("another value waits for a restart").count(), 1);
}
