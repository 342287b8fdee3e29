//! A link is for one person, once, and for a quarter of an hour.

use super::world::{Shape, World, bob, browser_of, shown};
use crate::client::{alice, send};
use crate::gateway::USER;
use crate::logs;
use crate::visitors::encoded;
use http::{Method, StatusCode, header};
use portcullis::apikey::NewApiKey;
use portcullis::devkit::browser::{Arrived, Browser};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_link_for_one_person_connects_nobody_else() {
    let mut world = World::new(Shape::Google).await;
    let link = world.link().await;
    let stranger = browser_of(&world, &bob()).await;
    let page = shown(stranger.open(&link, "").await.unwrap());
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text().contains("somebody else") && !page.body.contains(USER), "{}", page.text());
    assert!(page.form_with("decision").is_none());
    // Also not with a form that is otherwise Bob's own.
    let csrf_token = csrf_token(&stranger, &world).await;
    let page = decide(&stranger, &world, &link, &csrf_token).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    assert!(!world.is_connected("bob").await && !world.is_connected(USER).await);
    assert_eq!(world.provider.counted().await["asked"], 0);
    // Alice can use it all the same.
    let page = world.browser.let_device_in(&link, &alice()).await.unwrap();
    assert!(page.text().contains("is connected"), "{}", page.text());
    assert!(world.is_connected(USER).await && !world.is_connected("bob").await);
}

#[tokio::test]
async fn a_link_is_used_up_by_the_approval_alone() {
    let world = World::new(Shape::Google).await;
    let link = world.link().await;
    let consent = shown(world.browser.open(&link, "").await.unwrap());
    let consent = shown(world.browser.fill_login(&consent, &alice(), "").await.unwrap());
    for part in ["Google", "tools", "openid", "email", "127.0.0.1", USER] {
        assert!(consent.text().contains(part), "{part} is not on the page: {}", consent.text());
    }
    let policy = consent.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(consent.headers[header::REFERRER_POLICY], "same-origin");
    // Looked at again, and declined: it still works.
    let declined = shown(world.browser.deny(&consent, "").await.unwrap());
    assert!(declined.text().contains("Nothing was connected"), "{}", declined.text());
    assert!(!world.is_connected(USER).await);
    let again = shown(world.browser.open(&link, "").await.unwrap());
    let provider = shown(world.browser.approve(&again, "").await.unwrap());
    assert!(provider.url.as_str().starts_with(&world.provider.issuer), "{}", provider.url);
    // From now on nobody can begin with it; the one who did goes on.
    for browser in [&world.browser, &Browser::new().unwrap()] {
        let page = browser.let_device_in(&link, &alice()).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    }
    let mut page = provider;
    while page.form_with("decision").is_some() {
        page = shown(world.browser.approve(&page, "").await.unwrap());
    }
    assert!(page.text().contains("is connected"), "{}", page.text());
    assert!(page.visited.iter().any(|url| url.path() == "/callback/google"), "{:?}", page.visited);
}

#[tokio::test]
async fn a_link_ends_with_its_time_its_key_and_is_for_its_service() {
    let world = World::new(Shape::Google).await;
    let dies = async |link: &str| {
        let page = world.browser.let_device_in(link, &alice()).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
        assert!(page.text().contains("does not work any more"), "{}", page.text());
    };
    let late = world.link().await;
    world.gateway.clock.advance(Duration::from_secs(901));
    dies(&late).await;

    let about = json!({ "user_id": USER });
    let (id, key) = world.key_with(NewApiKey::default()).await;
    let (_, answer) = world.ask_with(&key, Method::POST, "/token/google", about.clone()).await;
    let orphan = answer["auth_url"].as_str().unwrap().to_owned();
    assert!(world.gateway.app().api_keys.revoke(id).await.unwrap());
    dies(&orphan).await;
    assert_eq!(
        world.ask_with(&key, Method::POST, "/token/google", about.clone()).await.0.status,
        StatusCode::UNAUTHORIZED
    );

    // A link never outlives its key.
    let short = NewApiKey { ttl: Some(Duration::from_secs(60)), ..NewApiKey::default() };
    let (_, key) = world.key_with(short).await;
    let (_, answer) = world.ask_with(&key, Method::POST, "/token/google", about).await;
    // A second may have gone by since the key was made.
    let life = answer["expires_in"].as_u64().unwrap();
    assert!((50..=60).contains(&life), "{life}");

    dies(&world.link().await.replace("link=", "link=x")).await;
    let elsewhere = world.link().await.replace("/auth/google", "/auth/github");
    let page = world.browser.let_device_in(&elsewhere, &alice()).await.unwrap();
    assert_eq!(page.status, StatusCode::NOT_FOUND, "{}", page.text());
    assert!(!world.is_connected(USER).await);
}

#[tokio::test]
async fn links_are_kept_as_digests_and_stay_out_of_the_log() {
    let world = World::new(Shape::Google).await;
    let link = world.link().await;
    let secret = link.split("link=").nth(1).unwrap();
    assert_eq!(secret.len(), 43);
    assert!(!logs::contain(secret));
    for (path, bytes) in world.gateway.kept() {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
    }
    assert_ne!(link, world.link().await, "each is another one");
}

/// Security cases: the approval is our page's alone, and the answer of the service belongs to the browser that left.
#[tokio::test]
async fn a4_b38_nobody_else_can_approve_or_come_back() {
    let world = World::new(Shape::Google).await;
    let link = world.link().await;
    let browser = browser_of(&world, &alice()).await;
    let good = csrf_token(&browser, &world).await;
    for (origin, relation, csrf_token) in [
        ("https://evil.example", "cross-site", good.as_str()),
        ("null", "cross-site", &good),
        (&world.gateway.root(), "same-site", &good),
        (&world.gateway.root(), "same-origin", ""),
        (&world.gateway.root(), "same-origin", "wrong"),
    ] {
        let fields =
            [("content-type", "application/x-www-form-urlencoded"), ("origin", origin), ("sec-fetch-site", relation)];
        let form = encoded(&[("csrf_token", csrf_token), ("decision", "approve")]);
        let page = send(&browser, Method::POST, &link, &fields, Some(form)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{origin} {relation} {csrf_token}");
    }
    // The service's answer, caught on its way and opened where somebody else is signed in, or nobody.
    let callback = format!("{}/callback/google", world.gateway.root());
    let caught = browser.authorize(&link, &alice(), &callback).await.unwrap();
    for other in [browser_of(&world, &bob()).await, Browser::new().unwrap()] {
        let page = shown(other.open(&caught.url, "").await.unwrap());
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    }
    // At another address than the one that was asked for it is refused before the code leaves us.
    let shared = caught.url.replace("/callback/google", "/auth/callback");
    let page = shown(browser.open(&shared, "").await.unwrap());
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    assert!(!world.is_connected(USER).await && !world.is_connected("bob").await);
}

#[tokio::test]
async fn people_are_sent_on_to_known_places_only() {
    let world = World::new(Shape::Google).await;
    let bad = [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "https://claude.ai.evil.example/",
        "https://claude.ai@evil.example/",
        "javascript:alert(1)",
        "http://localhost.evil.example/",
        "cursor://done",
    ];
    for place in bad {
        let body = json!({ "service": "google", "user_id": USER, "redirect_uri": place });
        let (status, answer) = world.ask(Method::POST, "/auth/init", body).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{place}");
        let query = encoded(&[("user_id", USER), ("return_to", place)]);
        let page = world.browser.let_device_in(&world.url(&format!("/auth/google?{query}")), &alice()).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{place}: {}", page.text());
    }
    let place = "http://127.0.0.1:1/done?x=1";
    let body = json!({ "service": "google", "user_id": USER, "redirect_uri": place });
    let (_, link) = world.ask(Method::POST, "/auth/init", body.clone()).await;
    let consent = shown(world.browser.open(link["auth_url"].as_str().unwrap(), "").await.unwrap());
    let Arrived::Stopped(url) = world.browser.deny(&consent, place).await.unwrap() else { panic!() };
    assert_eq!(url.as_str(), format!("{place}&error=access_denied"));
    // Refused at the service instead of here.
    let provider = shown(world.browser.approve(&consent, place).await.unwrap());
    let Arrived::Stopped(url) = world.browser.deny(&provider, place).await.unwrap() else { panic!() };
    assert_eq!(url.as_str(), format!("{place}&error=access_denied"));
    let (_, link) = world.ask(Method::POST, "/auth/init", body).await;
    let done = world.browser.authorize(link["auth_url"].as_str().unwrap(), &alice(), place).await.unwrap();
    assert_eq!(done.url, place);
    assert!(world.is_connected(USER).await);
}

async fn csrf_token(browser: &Browser, world: &World) -> String {
    crate::visitors::csrf_token(&shown(browser.open(&world.url("/account"), "").await.unwrap()))
}

async fn decide(browser: &Browser, world: &World, link: &str, csrf_token: &str) -> portcullis::devkit::browser::Page {
    let root = world.gateway.root();
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", root.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let form = encoded(&[("csrf_token", csrf_token), ("decision", "approve")]);
    send(browser, Method::POST, link, &fields, Some(form)).await
}
