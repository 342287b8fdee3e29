//! Consent that is remembered, and consent that is not, as a browser meets it.

use crate::client::{Client, alice, mcp_url};
use crate::gateway::Gateway;
use crate::upstreams::Notes;
use http::StatusCode;
use portcullis::devkit::browser::{Arrived, Browser, Page};
use serde_json::json;
use url::Url;

const WEB: &str = "https://app.example/callback";
const LOOPBACK: &str = "http://127.0.0.1:33333/callback";

async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    (notes, gateway)
}

async fn client(gateway: &Gateway, notes: &Notes, redirect_uri: &str) -> Client {
    let metadata = json!({
        "client_name": "Web application",
        "redirect_uris": [WEB, LOOPBACK],
        "token_endpoint_auth_method": "none",
    });
    Client::discover(&mcp_url(gateway, &notes.authority()), redirect_uri).await.register(metadata).await
}

/// Opens an authorization request in a browser that is signed in.
async fn open(browser: &Browser, client: &Client, extra: &[(&str, &str)]) -> Arrived {
    browser.open(&client.authorization_url(extra), &client.redirect_uri).await.unwrap()
}

fn page(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("nobody was asked: {url}"),
    }
}

fn callback(arrived: Arrived) -> Url {
    match arrived {
        Arrived::Stopped(url) => url,
        Arrived::Page(page) => panic!("somebody was asked: {}", page.text()),
    }
}

/// Agrees, with a tick in the box; the upstream is connected already.
async fn agree(browser: &Browser, client: &Client, page: &Page) {
    let form = page.form_with("decision").unwrap();
    let changes = [("decision", "approve"), ("remember", "yes")];
    let arrived = browser.submit(page, &form, &changes, &client.redirect_uri).await.unwrap();
    assert!(callback(arrived).query().unwrap().contains("code="));
}

/// A browser in which Alice is signed in and has connected the upstream.
async fn connected(client: &Client) -> &Browser {
    client.authorize().await;
    &client.browser
}

#[tokio::test]
async fn who_ticks_the_box_is_not_asked_until_the_grant_is_taken_back() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes, WEB).await;
    let browser = connected(&client).await;
    let asked = page(open(browser, &client, &[]).await);
    assert!(asked.body.contains("name=\"remember\""), "{}", asked.text());
    agree(browser, &client, &asked).await;
    let url = callback(open(browser, &client, &[]).await);
    let code = url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let ours = client.exchange(&code).await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    assert!(callback(open(browser, &client, &[("prompt", "none")]).await).query().unwrap().contains("code="));
    assert!(page(open(browser, &client, &[("prompt", "consent")]).await).form_with("decision").is_some());
    // Somebody else at the same browser, and the same person at another one.
    browser.forget_cookies();
    let Arrived::Page(login) = open(browser, &client, &[]).await else { panic!() };
    let arrived = browser.fill_login(&login, &alice(), WEB).await.unwrap();
    assert!(matches!(arrived, Arrived::Stopped(_)), "a registered client is remembered after signing in again");

    // On the page of the account, any of the grants.
    let account = format!("{}/account", gateway.root());
    let Arrived::Page(home) = browser.open(&account, "").await.unwrap() else { panic!() };
    let form = home.forms().into_iter().find(|form| form.action == "/grants/revoke").unwrap();
    browser.submit(&home, &form, &[], "").await.unwrap();
    page(open(browser, &client, &[]).await);
    let silent = callback(open(browser, &client, &[("prompt", "none")]).await);
    assert!(silent.query().unwrap().contains("error=interaction_required"), "{silent}");
}

#[tokio::test]
async fn a_program_on_this_computer_is_asked_for_each_time() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes, LOOPBACK).await;
    let browser = connected(&client).await;
    for _ in 0..2 {
        let asked = page(open(browser, &client, &[]).await);
        assert!(!asked.body.contains("name=\"remember\""), "{}", asked.text());
        agree(browser, &client, &asked).await;
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_again_without_asking_about_the_client() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes, WEB).await;
    let browser = connected(&client).await;
    let asked = page(open(browser, &client, &[]).await);
    agree(browser, &client, &asked).await;
    let Arrived::Page(home) = browser.open(&format!("{}/connections", gateway.root()), "").await.unwrap() else {
        panic!()
    };
    let form = home.forms().into_iter().find(|form| form.action == "/connections/disconnect").unwrap();
    browser.submit(&home, &form, &[], "").await.unwrap();
    // The page is the upstream's own.
    let asked = page(open(browser, &client, &[]).await);
    assert_eq!(asked.url.port(), Some(notes.authorization.address().port()), "{}", asked.text());
    let silent = callback(open(browser, &client, &[("prompt", "none")]).await);
    assert!(silent.query().unwrap().contains("error=interaction_required"), "{silent}");
}
