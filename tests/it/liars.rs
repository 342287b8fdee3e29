//! Upstreams that are wrong about themselves: whatever they say, the person ends on a page that says what failed and
//! leads back to the client, and no code goes where it does not belong.

use crate::client::{Client, alice, mcp_url};
use crate::gateway::Gateway;
use crate::raw::PATIENCE;
use crate::upstreams::Notes;
use portcullis::devkit::authorization_server::Misbehaviour;
use portcullis::devkit::browser::{Arrived, Page};
use portcullis::devkit::mcp::Lie;
use std::time::Instant;

/// Goes on until a page asks for nothing any more.
async fn last_page(client: &Client) -> Page {
    let stop = &client.redirect_uri;
    let mut arrived = client.browser.open(&client.authorization_url(&[]), stop).await.unwrap();
    for _ in 0..6 {
        let page = match arrived {
            Arrived::Stopped(url) => panic!("the client got an answer: {url}"),
            Arrived::Page(page) => page,
        };
        arrived = if page.form_with("password").is_some() {
            client.browser.fill_login(&page, &alice(), stop).await.unwrap()
        } else if page.form_with("decision").is_some() {
            client.browser.approve(&page, stop).await.unwrap()
        } else {
            return page;
        };
    }
    panic!("it does not end");
}

/// The address behind the link that gives up.
fn way_back(page: &Page) -> String {
    let before = page.body.split("cancel=failed").next().filter(|before| before.len() < page.body.len());
    let before = before.unwrap_or_else(|| panic!("no way back: {}", page.body));
    let path = before.rsplit("href=\"").next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    page.url.join(&format!("{path}cancel=failed")).unwrap().into()
}

struct Story {
    notes: Notes,
    gateway: Gateway,
    client: Client,
}

impl Story {
    async fn begin(arrange: impl FnOnce(&Notes)) -> Self {
        let notes = Notes::start().await;
        arrange(&notes);
        let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
        let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
        Self { notes, gateway, client }
    }

    async fn ends_well(&self, name: &str) {
        let page = last_page(&self.client).await;
        let status = page.status.as_u16();
        assert!((400..600).contains(&status) && status != 500, "{name}: {status} {}", page.text());
        assert!(page.url.as_str().starts_with(&self.gateway.root()), "{name}: {}", page.url);
        assert!(page.text().len() > 60, "{name}: {}", page.text());
        assert!(!page.body.contains("demo_code_"), "{name}: the page has the upstream's code");
        let Arrived::Stopped(url) =
            self.client.browser.open(&way_back(&page), &self.client.redirect_uri).await.unwrap()
        else {
            panic!("{name}: the client never learns of it")
        };
        let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(value("error").as_deref(), Some("server_error"), "{name}: {url}");
        assert_eq!(value("state").as_deref(), Some("the-state"), "{name}: {url}");
        assert_eq!(value("iss").as_deref(), self.client.metadata["issuer"].as_str(), "{name}: {url}");
        assert_eq!(value("code"), None, "{name}: {url}");
    }
}

#[tokio::test]
async fn b57_b61_metadata_that_is_wrong_sends_the_person_nowhere() {
    for how in [
        Misbehaviour::WrongIssuer,
        Misbehaviour::WithoutS256,
        Misbehaviour::HugeMetadata,
        Misbehaviour::NoRegistration,
        Misbehaviour::RegistrationRefused,
    ] {
        let story = Story::begin(|notes| notes.authorization.misbehave(how)).await;
        story.ends_well(&format!("{how:?}")).await;
        assert_eq!(story.notes.authorization.counters().authorizations, 0, "{how:?}");
    }
}

#[tokio::test]
async fn b62_a_resource_that_names_another_sends_the_person_nowhere() {
    let story = Story::begin(|notes| notes.mcp.control.lie(Lie::WrongResource)).await;
    story.ends_well("WrongResource").await;
    assert_eq!(story.notes.authorization.counters().authorizations, 0);
}

#[tokio::test]
async fn b59_a_code_of_the_wrong_issuer_is_not_redeemed() {
    for how in [Misbehaviour::IssWrong, Misbehaviour::IssMissing] {
        let story = Story::begin(|notes| notes.authorization.misbehave(how)).await;
        story.ends_well(&format!("{how:?}")).await;
        let seen = story.notes.authorization.seen();
        let redeemed = seen.iter().any(|seen| seen.endpoint == "token");
        assert!(!redeemed, "{how:?}: the code left for the token endpoint");
    }
}

#[tokio::test]
async fn a_token_endpoint_in_trouble() {
    for how in [Misbehaviour::TokenServerError, Misbehaviour::TokenGarbage] {
        let story = Story::begin(|notes| notes.authorization.misbehave(how)).await;
        story.ends_well(&format!("{how:?}")).await;
        // Once it works again, so does the same client.
        story.notes.authorization.behave();
        assert!(!story.client.connect().await.access.is_empty(), "{how:?}");
    }
}

#[tokio::test]
async fn metadata_that_never_ends_is_not_waited_for() {
    let story = Story::begin(|notes| notes.authorization.misbehave(Misbehaviour::SlowMetadata)).await;
    let begun = Instant::now();
    story.ends_well("SlowMetadata").await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
