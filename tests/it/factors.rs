//! A second factor in the way of a client: over real sockets, from the authorization request to the token.

use crate::client::{Client, alice, mcp_url};
use crate::gateway::{Gateway, USER};
use crate::visitors::setup;
use data_encoding::BASE32_NOPAD;
use portcullis::clock::Timestamp;
use portcullis::devkit::browser::{Arrived, Page};
use portcullis::ids::Digest;
use ring::hmac;
use std::time::Duration;

/// What an authenticator app shows (RFC 6238).
pub fn code(secret: &str, now: Timestamp) -> String {
    let secret = BASE32_NOPAD.decode(secret.replace(' ', "").as_bytes()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = hmac::sign(&key, &(now.seconds() / 30).to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 0xf);
    let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

/// Gives the administrator an authenticator app; its secret.
async fn enrolled(gateway: &Gateway) -> String {
    let app = gateway.app();
    let user = app.store.user_by_name(USER).await.unwrap().unwrap();
    let browser = Digest::of("a browser");
    let secret = app.factors.enrol(&user, browser).await.unwrap().unwrap().secret.expose().to_owned();
    let first = code(&secret, gateway.clock.now());
    assert!(app.factors.confirm(user.id, browser, &first).await.unwrap().is_some());
    gateway.clock.advance(Duration::from_secs(30));
    secret
}

fn page(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("the client was called: {url}"),
    }
}

#[tokio::test]
async fn a48_a_client_gets_no_code_before_the_second_factor() {
    let (notes, gateway) = setup().await;
    let secret = enrolled(&gateway).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let (browser, stop, start) = (&client.browser, client.redirect_uri.as_str(), client.authorization_url(&[]));
    let login = page(browser.open(&start, stop).await.unwrap());
    let asked = page(browser.fill_login(&login, &alice(), stop).await.unwrap());
    let form = asked.form_with("totp_code").unwrap();
    assert!(browser.cookie(&gateway.root(), "portcullis").is_none_or(|value| value.is_empty()));
    let again = page(browser.open(&start, stop).await.unwrap());
    assert!(again.form_with("password").is_some(), "the request leads to the sign-in: {}", again.text());
    let wrong = page(browser.submit(&asked, &form, &[("totp_code", "000000")], stop).await.unwrap());
    assert!(wrong.form_with("totp_code").is_some());

    let right = code(&secret, gateway.clock.now());
    let consent = page(browser.submit(&asked, &form, &[("totp_code", &right)], stop).await.unwrap());
    assert!(consent.form_with("decision").is_some(), "{}", consent.text());
    assert!(matches!(browser.approve(&consent, stop).await.unwrap(), Arrived::Stopped(_)));
}

#[tokio::test]
async fn a_reload_shortens_the_lives_of_open_sessions_and_requires_second_factors() {
    use portcullis::config::SecondFactor;
    let (_notes, gateway) = setup().await;
    let (browser, _) = crate::visitors::signed_in(&gateway).await;
    let account = format!("{}/account", gateway.root());
    gateway.clock.advance(Duration::from_secs(7200));
    assert!(page(browser.open(&account, "").await.unwrap()).form_with("applications").is_some());
    let reloaded = gateway.reload(|config| {
        config.login.sessions.idle = Duration::from_secs(3600);
        config.login.second_factor = SecondFactor::Required;
    });
    assert!(reloaded.await.unwrap().changed.contains(&"login"));
    gateway.clock.advance(Duration::from_secs(3600));
    let login = page(browser.open(&account, "").await.unwrap());
    assert!(login.form_with("password").is_some(), "{}", login.text());
    let enrol = page(browser.fill_login(&login, &alice(), "").await.unwrap());
    assert!(enrol.form_with("totp_code").is_some() && enrol.body.contains("<svg"), "{}", enrol.text());
}
