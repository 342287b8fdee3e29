//! A database that is locked, paused or slow under a running gateway: what is asked of it fails or waits and is never promised
//! falsely, what is known goes on, and afterwards everything works by itself.

use crate::client::{Client, mcp_url, send};
use crate::gateway::{Gateway, upstream, without_rates};
use crate::postgres::Cluster;
use crate::raw::{Caller, PATIENCE, field, post, status};
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::config::UpstreamAuth;
use portcullis::secret::Secret;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
    "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

async fn start(notes: &Notes, url: Option<String>) -> Gateway {
    let authority = notes.authority();
    Gateway::with(move |config| {
        if let Some(url) = &url {
            config.store.url = Secret::new(url.clone());
        }
        without_rates(config);
        config.limits.token_endpoint = config.limits.per_ip;
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await
}

/// The head of the answer to a call with this token.
async fn ask(gateway: &Gateway, notes: &Notes, token: &str) -> String {
    let request = post(&gateway.host_of(&notes.authority()), token, INITIALIZE);
    Caller::connect(gateway.port()).await.send(request).await.response_within(4 * PATIENCE).await.0
}

async fn revoke(client: &Client, token: &str) -> StatusCode {
    let form = [("token", token), ("client_id", &client.client_id)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    send(&client.browser, Method::POST, &client.endpoint("revocation_endpoint"), &[], Some(body)).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_sqlite_is_locked_nothing_is_promised_and_afterwards_everything_is_as_before() {
    let notes = Notes::start().await;
    let gateway = start(&notes, None).await;
    let url = mcp_url(&gateway, &notes.authority());
    let (client, other) = (Client::ready(&url).await, Client::ready(&url).await);
    let (tokens, code) = (client.connect().await, other.authorize().await.code.unwrap());

    let file = gateway.directory().join("portcullis/portcullis.db");
    let mut locking = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut locking).await.unwrap();
    let parameters = other.code_parameters(&code);
    let (revoked, spent, called) = tokio::join!(
        revoke(&client, &tokens.refresh),
        other.token_request(&parameters),
        ask(&gateway, &notes, &tokens.access),
    );
    assert!(revoked.is_server_error(), "{revoked}: nothing is promised");
    assert!(spent.0.is_server_error(), "{spent:?}");
    assert_eq!(status(&called), 200, "who is known is served");
    sqlx::raw_sql("ROLLBACK").execute(&mut locking).await.unwrap();

    assert_eq!(status(&ask(&gateway, &notes, &tokens.access).await), 200);
    assert!(!other.exchange(&code).await.access.is_empty(), "the code was not spent");
    assert_eq!(revoke(&client, &tokens.refresh).await, StatusCode::OK);
    assert_eq!(status(&ask(&gateway, &notes, &tokens.access).await), 401);
}

/// All processes of a server stand still for a while, in the middle of a refresh upstream and of one of our own tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_paused_and_then_slow_loses_and_doubles_nothing() {
    let (notes, cluster) = (Notes::start().await, Arc::new(Cluster::start(true)));
    let gateway = start(&notes, Some(cluster.empty().await)).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    assert_eq!(status(&ask(&gateway, &notes, &tokens.access).await), 200);
    // The upstream's token has expired, and ours has not.
    notes.clock.advance(Duration::from_secs(301));
    gateway.clock.advance(Duration::from_secs(301));
    let before = notes.authorization.counters().refreshes;

    let pause = cluster.pause();
    let paused = Instant::now();
    let (mut head, mut refused) = (String::new(), 0);
    while paused.elapsed() < Duration::from_secs(3) || refused == 0 {
        assert!(paused.elapsed() < PATIENCE, "{head}");
        head = ask(&gateway, &notes, &tokens.access).await;
        assert!(matches!(status(&head), 500 | 502 | 503), "{head}");
        refused += usize::from(status(&head) == 503 && field(&head, "retry-after").is_some());
    }
    assert_eq!(notes.authorization.counters().refreshes, before, "no call upstream without a durable intent");
    let (renewing, token) = (client.refresh(&tokens.refresh), tokens.refresh.clone());
    let resume = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(pause);
    };
    let (during, ()) = tokio::join!(renewing, resume);
    // Whatever became of it, the same token leads to the same successor.
    let (first, again) = (client.refresh(&token).await, client.refresh(&token).await);
    assert_eq!((first.0, &first.1["refresh_token"]), (StatusCode::OK, &again.1["refresh_token"]), "{during:?}");
    assert!(during.0 != StatusCode::OK || during.1["refresh_token"] == first.1["refresh_token"], "{during:?}");
    let resumed = Instant::now();
    while status(&ask(&gateway, &notes, &tokens.access).await) != 200 {
        assert!(resumed.elapsed() < PATIENCE, "it does not recover");
    }
    let counters = notes.authorization.counters();
    assert_eq!((counters.refreshes, counters.replays), (before + 1, 0));

    // A disk so slow that everything takes a quarter of a second now and then.
    notes.clock.advance(Duration::from_secs(301));
    gateway.clock.advance(Duration::from_secs(301));
    let over = Arc::new(AtomicBool::new(false));
    let (stumbling, stop) = (cluster.clone(), over.clone());
    let stumbling = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let pause = stumbling.pause();
            tokio::time::sleep(Duration::from_millis(250)).await;
            drop(pause);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    let mut token = first.1["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        let ((status_of_refresh, answer), head) =
            tokio::join!(client.refresh(&token), ask(&gateway, &notes, &tokens.access));
        assert_eq!(status_of_refresh, StatusCode::OK, "{answer}");
        token = answer["refresh_token"].as_str().unwrap().to_owned();
        assert!(matches!(status(&head), 200 | 503), "{head}");
    }
    over.store(true, Ordering::Relaxed);
    stumbling.await.unwrap();
    while status(&ask(&gateway, &notes, &tokens.access).await) != 200 {
        assert!(resumed.elapsed() < 4 * PATIENCE, "it does not recover");
    }
    let counters = notes.authorization.counters();
    assert_eq!((counters.refreshes, counters.replays), (before + 2, 0));
    assert_eq!(gateway.app().store.verify_audit(None).await.unwrap().broken, None);
}
