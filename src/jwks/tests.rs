//! Key sets from a real server, which is slow, changes its keys, and fails when told to.

use super::*;
use crate::http::Resolver;
use crate::jose::party::Party;
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Somebody who publishes keys.
struct Publisher {
    url: String,
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answers, counter) = (answer.clone(), asked.clone());
        let jwks = get(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let (status, body) = answers.lock().clone();
            std::future::ready((status, [("cache-control", "max-age=600")], body).into_response())
        });
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/jwks", jwks)).await });
        Self { url, answer, asked }
    }

    fn publish(&self, keys: &[(&str, &Party)]) {
        let with_kid = |(kid, party): &(&str, &Party)| {
            let mut jwk = party.jwk();
            jwk["kid"] = json!(kid);
            jwk
        };
        let keys: Vec<_> = keys.iter().map(with_kid).collect();
        *self.answer.lock() = (StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn remote_keys() -> (RemoteKeys, Clock) {
    let clock = Clock::standing();
    let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
    (RemoteKeys::new(http, clock.clone()), clock)
}

fn token(party: &Party, kid: &str) -> String {
    party.sign(&json!({"alg": "ES256", "kid": kid}), &json!({"sub": "a"}))
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_set_is_fetched_once_for_all_who_ask_and_again_when_it_is_stale() {
    let (publisher, party) = (Publisher::start().await, Party::new());
    publisher.publish(&[("one", &party)]);
    let (keys, clock) = remote_keys();
    let token = token(&party, "one");
    let all = join_all((0..50).map(|_| keys.verify::<Value>(&publisher.url, true, &token))).await;
    assert!(all.into_iter().all(|one| one.is_ok_and(|signed| signed.claims["sub"] == "a")));
    assert_eq!(publisher.asked(), 1);
    clock.advance(Duration::from_secs(599));
    keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
    assert_eq!(publisher.asked(), 1);
    clock.advance(Duration::from_secs(2));
    keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_but_nobody_makes_us_ask_more_than_once_a_minute() {
    let publisher = Publisher::start().await;
    let (old, new) = (Party::new(), Party::new());
    publisher.publish(&[("old", &old)]);
    let (keys, clock) = remote_keys();
    keys.verify::<Value>(&publisher.url, true, &token(&old, "old")).await.unwrap();
    publisher.publish(&[("old", &old), ("new", &new)]);
    let fresh = token(&new, "new");
    let unknown = Err(NotVerified::Untrusted(Untrusted::UnknownKey));
    assert_eq!(keys.verify::<Value>(&publisher.url, true, &fresh).await, unknown);
    clock.advance(MINUTE);
    keys.verify::<Value>(&publisher.url, true, &fresh).await.unwrap();
    assert_eq!(publisher.asked(), 2);
    let stranger = Party::new();
    for _ in 0..20 {
        assert_eq!(keys.verify::<Value>(&publisher.url, true, &token(&stranger, "x")).await, unknown);
    }
    assert_eq!(publisher.asked(), 2);
    // Without kid a new key shows as a wrong signature.
    let newest = Party::new();
    publisher.publish(&[("newest", &newest)]);
    clock.advance(MINUTE);
    let nameless = newest.sign(&json!({"alg": "ES256"}), &json!({}));
    keys.verify::<Value>(&publisher.url, true, &nameless).await.unwrap();
}

#[tokio::test]
async fn the_last_good_copy_outlives_failures_but_not_for_ever() {
    let (publisher, party) = (Publisher::start().await, Party::new());
    publisher.publish(&[("one", &party)]);
    let (keys, clock) = remote_keys();
    let token = token(&party, "one");
    keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
    for (status, body) in [(StatusCode::BAD_GATEWAY, "{}"), (StatusCode::OK, "no JSON"), (StatusCode::OK, "{}")] {
        *publisher.answer.lock() = (status, body.to_owned());
        clock.advance(Duration::from_secs(3600));
        keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
        let asked = publisher.asked();
        keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
        assert_eq!(publisher.asked(), asked, "a server in trouble is left alone");
    }
    clock.advance(Duration::from_secs(24 * 3600));
    let gone = keys.verify::<Value>(&publisher.url, true, &token).await.unwrap_err();
    assert!(matches!(gone, NotVerified::NoKeys(_)), "{gone:?}");
    publisher.publish(&[("one", &party)]);
    clock.advance(MINUTE);
    keys.verify::<Value>(&publisher.url, true, &token).await.unwrap();
}

#[tokio::test]
async fn a9_nothing_is_fetched_in_vain_or_from_where_it_must_not_be() {
    let (publisher, party) = (Publisher::start().await, Party::new());
    publisher.publish(&[("one", &party)]);
    let (keys, _) = remote_keys();
    for bad in ["", "a.b.c", &party.sign(&json!({"alg": "none"}), &json!({}))] {
        assert!(matches!(keys.verify::<Value>(&publisher.url, true, bad).await, Err(NotVerified::Untrusted(_))));
    }
    let token = token(&party, "one");
    let refused = ["http://127.0.0.1:1/jwks", "http://keys.example/jwks", "https://169.254.169.254/jwks", "file:///x"];
    for url in refused.into_iter().chain([publisher.url.as_str()]) {
        let refused = keys.verify::<Value>(url, false, &token).await.unwrap_err();
        assert!(matches!(refused, NotVerified::NoKeys(_)), "{url}: {refused:?}");
    }
    assert_eq!(publisher.asked(), 0);
    *publisher.answer.lock() = (StatusCode::OK, " ".repeat(MAX_BODY + 1));
    let huge = keys.verify::<Value>(&publisher.url, true, &token).await.unwrap_err();
    assert_eq!(huge, NotVerified::NoKeys("it is larger than 256 KiB".to_owned()));
}
