//! A clock that is moved by an hour, either way, under a running gateway: nobody has to sign in again, no upstream is asked more often
//! than its tokens end, and what was used up or revoked stays so.

use crate::client::{Client, mcp_url, send};
use crate::gateway::{Gateway, USER, upstream, without_rates};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::config::UpstreamAuth;
use portcullis::devkit::browser::Arrived;
use portcullis::devkit::prover::Prover;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// By how much, and what for.
#[derive(Clone, Copy, Debug)]
enum Move {
    Ahead,
    Back,
}

impl Move {
    fn apply(self, gateway: &Gateway) {
        match self {
            Self::Ahead => gateway.clock.advance(HOUR),
            Self::Back => gateway.clock.set_back(HOUR),
        }
    }
}

/// What the gateway does once an hour by itself.
async fn sweep(gateway: &Gateway) {
    let (app, now) = (gateway.app(), gateway.clock.now());
    app.store.sweep(now, app.tokens.memory(), Duration::from_secs(24 * 3600)).await.unwrap();
    app.sessions.sweep().await.unwrap();
}

async fn ask(gateway: &Gateway, authority: &str, token: &str, more: &str) -> u16 {
    let request = post(&gateway.host_of(authority), token, LIST).replacen("\r\n", &format!("\r\n{more}"), 1);
    Caller::connect(gateway.port()).await.send(request).await.status().await
}

#[tokio::test]
async fn c_clock_an_hour_either_way_signs_nobody_out_and_causes_no_storm_of_refreshes() {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        config.limits.token_endpoint = config.limits.per_ip;
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let mut tokens = client.connect().await;
    let mut moves = 0;
    for step in [Move::Ahead, Move::Back, Move::Back, Move::Ahead] {
        step.apply(&gateway);
        moves += 1;
        sweep(&gateway).await;
        // A token from what is now the future is refused; its client renews it and goes on.
        let mut answer = client.call(&tokens.access, "whoami").await;
        if answer.0 == StatusCode::UNAUTHORIZED {
            let (status, renewed) = client.refresh(&tokens.refresh).await;
            assert_eq!(status, StatusCode::OK, "{step:?}: {renewed}");
            tokens = crate::client::tokens(renewed);
            answer = client.call(&tokens.access, "whoami").await;
        }
        assert_eq!(answer.0, StatusCode::OK, "{step:?}: {}", answer.1);
        let Arrived::Page(page) = client.browser.open(&gateway.root(), "").await.unwrap() else { panic!() };
        assert!(page.status.is_success() && page.text().contains(USER), "{step:?}: {}", page.text());
        for _ in 0..20 {
            assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::OK, "{step:?}");
        }
        let counters = notes.authorization.counters();
        assert!(counters.refreshes <= moves, "{step:?}: {} refreshes", counters.refreshes);
        assert_eq!((counters.replays, counters.code_exchanges), (0, 1), "{step:?}");
    }
    println!("4 moves, {} refreshes", notes.authorization.counters().refreshes);
}

#[tokio::test]
async fn a46_c_clock_an_hour_either_way_revives_nothing_that_was_used_or_revoked() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let notes = RawUpstream::answering(answer).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        config.limits.token_endpoint = config.limits.per_ip;
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let url = mcp_url(&gateway, &notes.authority);
    // A code that was exchanged, a refresh token whose successor was used, tokens of a grant that was revoked.
    let (buyer, renewer, leaver) = (Client::ready(&url).await, Client::ready(&url).await, Client::ready(&url).await);
    let code = buyer.authorize().await.code.unwrap();
    buyer.exchange(&code).await;
    let stale = renewer.connect().await;
    let successor = renewer.refresh(&stale.refresh).await.1["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(renewer.refresh(&successor).await.0, StatusCode::OK);
    let ended = leaver.connect().await;
    let form = [("token", ended.refresh.as_str()), ("client_id", &leaver.client_id)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let endpoint = leaver.endpoint("revocation_endpoint");
    assert_eq!(send(&leaver.browser, Method::POST, &endpoint, &[], Some(body)).await.status, StatusCode::OK);
    // A proof of possession (RFC 9449), good for a minute.
    let key = Prover::new().unwrap();
    let bound = gateway.bound_token_for(&notes.authority, &key.thumbprint()).await;
    let claims = key.claims("POST", &url, Some(&bound), gateway.clock.now());
    let proof = format!("DPoP: {}\r\n", key.sign(&key.header(), &claims));
    let prove = async || {
        let request = post(&gateway.host_of(&notes.authority), &bound, LIST).replace("Bearer", "DPoP");
        let request = request.replacen("\r\n", &format!("\r\n{proof}"), 1);
        Caller::connect(gateway.port()).await.send(request).await.status().await
    };
    assert_eq!((prove().await, prove().await), (200, 401));

    for step in [Move::Ahead, Move::Back, Move::Back, Move::Ahead] {
        step.apply(&gateway);
        sweep(&gateway).await;
        assert_eq!(prove().await, 401, "{step:?}: a proof works twice");
        assert_eq!(ask(&gateway, &notes.authority, &ended.access, "").await, 401, "{step:?}: what was revoked lives");
        assert_eq!(leaver.refresh(&ended.refresh).await.1["error"], "invalid_grant", "{step:?}");
        assert_eq!(renewer.refresh(&stale.refresh).await.1["error"], "invalid_grant", "{step:?}");
        let (_, again) = buyer.token_request(&buyer.code_parameters(&code)).await;
        assert_eq!(again["error"], "invalid_grant", "{step:?}: a code works twice");
    }
}

/// A grant that was revoked nearly as long ago as its tokens live, when the clock runs an hour ahead for a while.
#[tokio::test]
async fn a46_a_revocation_is_remembered_by_a_clock_that_was_ahead() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let notes = RawUpstream::answering(answer).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        config.tokens.access_ttl = HOUR;
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let (token, grant) = gateway.token_for(&notes.authority).await;
    gateway.app().revocations.grant(grant).await.unwrap();
    gateway.clock.advance(HOUR / 2);
    Move::Ahead.apply(&gateway);
    sweep(&gateway).await;
    // Another process begins while the clock is wrong, too.
    let other = gateway.another(|_| {}).await;
    Move::Back.apply(&gateway);
    for node in [&gateway, &other] {
        assert_eq!(ask(node, &notes.authority, &token, "").await, 401, "what was revoked lives");
    }
}

/// Deadlines are not a matter of the clock on the wall.
#[tokio::test]
async fn c_clock_what_waits_neither_ends_nor_hangs_when_the_clock_moves() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n").await;
        connection.closed().await;
    })
    .await;
    let gateway = crate::streams::gateway_for(&notes, Duration::from_millis(200)).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let head = caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await.until("\r\n\r\n").await;
    assert_eq!((status(&head), field(&head, "content-type").as_deref()), (200, Some("text/event-stream")), "{head}");
    caller.until("data: first\n\n").await;
    for step in [Move::Ahead, Move::Back, Move::Back, Move::Ahead] {
        step.apply(&gateway);
        // Heartbeats come as before.
        caller.until(":").await;
        caller.until(":").await;
    }
}
