//! What a key is good for, and what a program hears when it is not.

use super::world::{BOB, Shape, World};
use crate::client::send;
use crate::gateway::USER;
use http::{Method, StatusCode, header};
use portcullis::apikey::{ApiScope, NewApiKey};
use portcullis::config::Rate;
use portcullis::devkit::browser::Browser;
use portcullis::secret::Secret;
use portcullis::store::{LinkedIdentity, Role};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_key_keeps_to_its_services_and_people_and_learns_of_nobody_else() {
    let world = World::with(Shape::GitHub, "\n[[service]]\nname = \"legacy\"\nlabel = \"Legacy\"\npat = \"p\"\n").await;
    let app = world.gateway.app();
    let alice = app.store.user_by_name(USER).await.unwrap().unwrap();
    let narrow = NewApiKey { services: vec!["github".to_owned()], users: vec![alice.id], ..NewApiKey::default() };
    let (_, key) = world.key_with(narrow).await;
    let said = async |service: &str, user: &str| {
        let (page, answer) =
            world.ask_with(&key, Method::POST, "/auth/token", json!({ "service": service, "user_id": user })).await;
        (page.status.as_u16(), answer)
    };
    assert_eq!(said("github", USER).await.1["error"], "authorization_required");
    let (status, other_service) = said("legacy", USER).await;
    assert_eq!((status, &other_service["error"]), (403, &json!("access_denied")));
    let somebody = said("github", BOB).await;
    assert_eq!((somebody.0, &somebody.1["error"]), (403, &json!("access_denied")));
    assert_eq!(said("github", "nobody-at-all").await, somebody, "it cannot tell who is here");
    let about = json!({ "service": "github", "user_id": BOB });
    for (method, path) in
        [(Method::POST, "/auth/init"), (Method::DELETE, "/auth/revoke"), (Method::POST, "/token/github")]
    {
        assert_eq!(world.ask_with(&key, method, path, about.clone()).await.0.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(said("no-such", USER).await.0, 404);
    assert_eq!(said("no-such", USER).await.1["error"], "unknown_service");

    // A key for everybody may know who everybody is.
    let (status, answer) = world.ask(Method::POST, "/token/github", json!({ "user_id": "nobody-at-all" })).await;
    assert_eq!((status, &answer["error"]), (StatusCode::NOT_FOUND, &json!("unknown_user")));
    let bob = app.store.user_by_name(BOB).await.unwrap().unwrap();
    app.store.disable_user(bob.id, app.clock.now()).await.unwrap();
    let (status, answer) = world.ask(Method::POST, "/token/legacy", json!({ "user_id": BOB })).await;
    assert_eq!((status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("access_denied")));
}

#[tokio::test]
async fn a_key_that_is_none_is_told_how_to_come_back() {
    let world = World::new(Shape::GitHub).await;
    let about = json!({ "user_id": USER });
    let (id, revoked) = world.key_with(NewApiKey::default()).await;
    world.gateway.app().api_keys.revoke(id).await.unwrap();
    let ends = NewApiKey { ttl: Some(Duration::from_secs(60)), ..NewApiKey::default() };
    let (_, ended) = world.key_with(ends).await;
    world.gateway.clock.advance(Duration::from_secs(60));
    for key in [&revoked, &ended, &Secret::new("x.y".to_owned())] {
        let (page, answer) = world.ask_with(key, Method::POST, "/token/github", about.clone()).await;
        assert_eq!((page.status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")), "{answer}");
        assert!(page.headers.contains_key(header::WWW_AUTHENTICATE));
        assert!(answer.get("auth_url").is_none());
    }
    let admin = NewApiKey { scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let (_, key) = world.key_with(admin).await;
    let (page, answer) = world.ask_with(&key, Method::POST, "/token/github", about).await;
    assert_eq!((page.status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("insufficient_scope")));
}

#[tokio::test]
async fn requests_that_are_not_right_are_told_why() {
    let world = World::new(Shape::GitHub).await;
    let program = Browser::new().unwrap();
    for (path, kind, body, why) in [
        ("/token/github", "application/json", "{}", "user_id"),
        ("/token/github", "application/json", "{\"user_id\":\"\"}", "user_id"),
        ("/token/github", "application/json", "{\"user_id\":5}", "each is a text"),
        ("/token/github", "application/json", "not json", "cannot be read"),
        ("/token/github", "text/plain", "user_id=alice", "Content-Type"),
        ("/token/github", "application/x-www-form-urlencoded", "user_id=a&user_id=b", "given once"),
        ("/token/github", "application/x-www-form-urlencoded", "{\"user_id\":\"alice\"}", "user_id"),
        ("/token/github", "application/json", "{\"user_id\":\"alice\",\"user_email\":\"a@b.example\"}", "not both"),
        ("/token/github", "application/json", "{\"user_id\":\"alice\",\"scope\":\"a\\\"b\"}", "scope"),
        ("/auth/token", "application/json", "{\"user_id\":\"alice\"}", "service"),
        (
            "/auth/init",
            "application/json",
            "{\"service\":\"github\",\"provider\":\"github\",\"user_id\":\"a\"}",
            "the same",
        ),
    ] {
        let fields = [("x-api-key", world.key.expose()), ("content-type", kind)];
        let page = send(&program, Method::POST, &world.url(path), &fields, Some(body.to_owned())).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{body}: {}", page.body);
        let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
        assert_eq!(answer["error"], "invalid_request", "{body}");
        let description = answer["error_description"].as_str().unwrap();
        assert!(description.contains(why) && description.is_ascii(), "{body}: {description}");
    }
}

#[tokio::test]
async fn an_address_is_good_for_the_one_person_who_has_it() {
    let world = World::new(Shape::GitHub).await;
    let store = &world.gateway.app().store;
    let (alice, bob) =
        (store.user_by_name(USER).await.unwrap().unwrap(), store.user_by_name(BOB).await.unwrap().unwrap());
    let identity = |issuer: &str, user, email: &str| LinkedIdentity {
        issuer: issuer.to_owned(),
        subject: "1".to_owned(),
        provider: "company".to_owned(),
        user,
        name: "x".to_owned(),
        email: Some(email.to_owned()),
        created_at: world.gateway.clock.now(),
        last_used_at: world.gateway.clock.now(),
    };
    store.link_identity(&identity("https://one.example", alice.id, "alice@corp.example")).await.unwrap();
    let limited = NewApiKey { users: vec![alice.id], ..NewApiKey::default() };
    let (_, limited) = world.key_with(limited).await;
    let ask = async |key: &Secret, email: &str| {
        let (page, answer) = world.ask_with(key, Method::POST, "/token/github", json!({ "user_email": email })).await;
        (page.status.as_u16(), answer["error"].as_str().unwrap().to_owned())
    };
    let pair = |status: u16, error: &str| (status, error.to_owned());
    assert_eq!(ask(&world.key, "Alice@corp.example").await, pair(401, "authorization_required"));
    assert_eq!(ask(&limited, "alice@corp.example").await, pair(401, "authorization_required"));
    assert_eq!(ask(&world.key, "nobody@corp.example").await, pair(404, "unknown_user"));
    assert_eq!(ask(&limited, "nobody@corp.example").await, pair(403, "access_denied"));
    // Another provider vouches for the same address, of somebody else.
    store.link_identity(&identity("https://two.example", bob.id, "alice@corp.example")).await.unwrap();
    assert_eq!(ask(&world.key, "alice@corp.example").await, pair(400, "invalid_request"));
    assert_eq!(ask(&limited, "alice@corp.example").await, pair(403, "access_denied"));
}

#[tokio::test]
async fn every_use_is_in_the_audit_log() {
    let world = World::new(Shape::Google).await;
    world.connect().await;
    world.token().await;
    world.ask(Method::DELETE, "/auth/revoke", json!({ "service": "google", "user_id": USER })).await;
    let said: Vec<_> = world.audit().await;
    let has = |actor: &str, action: &str, subject: &str| {
        let event = (actor.to_owned(), action.to_owned(), subject.to_owned());
        assert!(said.contains(&event), "{event:?} is not among {said:?}");
    };
    has("apikey:tools", "service.link_created", "google for alice");
    has("alice", "service.connected", "google");
    has("apikey:tools", "service.token_issued", "google for alice (oauth)");
    has("apikey:tools", "service.disconnected", "google for alice");
}

#[tokio::test]
async fn programs_are_limited_by_their_key_and_strangers_by_their_address() {
    let world = World::new(Shape::GitHub).await;
    assert!(world.gateway.app().store.users().await.unwrap().iter().any(|user| user.role == Role::Administrator));
    let slow = Rate { count: 1, period: Duration::from_secs(3600), burst: 2 };
    world
        .gateway
        .reload(|config| {
            config.limits.per_client = slow;
            config.limits.token_endpoint = slow;
        })
        .await
        .unwrap();
    let (_, other) = world.key_with(NewApiKey::default()).await;
    let about = json!({ "user_id": USER });
    for (key, good) in [(&world.key, 401), (&Secret::new("x.y".to_owned()), 401), (&other, 401)] {
        for _ in 0..2 {
            let (page, _) = world.ask_with(key, Method::POST, "/token/github", about.clone()).await;
            assert_eq!(page.status.as_u16(), good, "{}", page.body);
        }
        let (page, answer) = world.ask_with(key, Method::POST, "/token/github", about.clone()).await;
        assert_eq!((page.status.as_u16(), &answer["error"]), (429, &json!("temporarily_unavailable")));
        assert!(page.headers.contains_key(header::RETRY_AFTER));
    }
}
