use super::*;
use crate::checkpoints::Step;
use crate::connect::sealed::Tokens;
use crate::hostname::Account;
use crate::store::{Begun, Intent, Lease, Renewed, Swapped};
use futures_util::future::join_all;
use serde_json::json;

const TOKEN: &str = "POST /tenant/token";

/// A world with a connection whose access token has just expired.
async fn expired() -> World {
    let world = World::new().await;
    world.connect().await;
    world.clock.advance(Duration::from_secs(3600));
    world
}

/// A process of another machine begins a refresh.
async fn elsewhere(world: &World) -> Lease {
    let row = world.row().await;
    let presented = Digest::of("whatever");
    let intent = Intent { connection: row.id, version: row.version, holder: "elsewhere", presented };
    match world.store.begin_refresh(&intent, world.store.now().await.unwrap()).await.unwrap() {
        Begun::Held(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fifty_requests_refresh_once() {
    let world = expired().await;
    let all = join_all((0..50).map(|_| world.credential())).await;
    assert!(all.iter().all(|one| bearer(one.as_ref().unwrap()) == "Bearer at-2"));
    assert_eq!(world.stranger.count(TOKEN), 2);
    assert_eq!(bearer(&world.connections.cached(&world.key).unwrap()), "Bearer at-2");
}

#[tokio::test]
async fn fifty_rejections_refresh_once() {
    let world = World::new().await;
    world.connect().await;
    let rejected = world.credential().await.unwrap();
    let all = join_all((0..50).map(|_| world.connections.renew(&world.key, &rejected, None))).await;
    assert!(all.iter().all(|one| bearer(one.as_ref().unwrap()) == "Bearer at-2"));
    assert_eq!(world.stranger.count(TOKEN), 2);
    let late = world.connections.renew(&world.key, &rejected, None).await.unwrap();
    assert_eq!((bearer(&late), world.stranger.count(TOKEN)), ("Bearer at-2", 2));
    // The same by what is in the database, as long as that is good.
    world.connections.forget_all();
    let late = world.connections.renew(&world.key, &rejected, None).await.unwrap();
    assert_eq!((bearer(&late), world.stranger.count(TOKEN)), ("Bearer at-2", 2));
    world.clock.advance(Duration::from_secs(3600));
    let late = world.connections.renew(&world.key, &rejected, None).await.unwrap();
    assert_eq!((bearer(&late), world.stranger.count(TOKEN)), ("Bearer at-3", 3));
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_nothing() {
    let world = expired().await;
    let mut call = Box::pin(world.credential());
    // Polled until the request has left, then dropped.
    while world.stranger.count(TOKEN) < 2 {
        let _ = futures_util::poll!(call.as_mut());
        tokio::task::yield_now().await;
    }
    drop(call);
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    assert_eq!(world.stranger.count(TOKEN), 2);
}

/// Security case B 68.
#[tokio::test]
async fn b68_an_omitted_refresh_token_is_the_old_one() {
    let world = expired().await;
    *world.stranger.rotates.lock() = false;
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-3");
    assert_eq!(world.stranger.last(TOKEN).form()["refresh_token"], "rt-1");
}

#[tokio::test]
async fn a_success_ends_the_growing_of_the_pauses() {
    let world = expired().await;
    let pause = async || match world.credential().await {
        Err(NoCredential::Trouble { retry_after, .. }) => retry_after.as_secs(),
        _ => panic!("trouble"),
    };
    world.stranger.answers(TOKEN, Reply::Text(500, "oops"));
    assert_eq!(pause().await, 2);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(pause().await, 4);
    world.clock.advance(Duration::from_secs(4));
    world.stranger.as_it_should(TOKEN);
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    world.connections.settle().await;
    world.clock.advance(Duration::from_secs(3600));
    world.stranger.answers(TOKEN, Reply::Text(500, "oops"));
    assert_eq!(pause().await, 2);
}

/// DESIGN 1.7 "Provider trouble": the connection stays and the next attempt comes within 15 s.
#[tokio::test]
async fn b66_trouble_at_the_provider_costs_no_connection() {
    for reply in [
        Reply::Text(500, "oops"),
        Reply::Json(500, json!({ "error": "invalid_grant" })),
        Reply::Text(429, ""),
        Reply::Text(200, "garbage"),
        Reply::Json(200, json!({ "access_token": 1 })),
        Reply::Json(400, json!({ "error": "temporarily_unavailable" })),
        // Not followed: the token would go to whoever is named there.
        Reply::Redirect("/tenant/token".to_owned()),
        Reply::Endless,
        Reply::Silence,
    ] {
        let world = expired().await;
        world.stranger.answers(TOKEN, reply);
        let Err(NoCredential::Trouble { retry_after, .. }) = world.credential().await else { panic!("trouble") };
        assert!(retry_after <= Duration::from_secs(15));
        assert!(in_trouble(&world.credential().await));
        assert_eq!(world.stranger.count(TOKEN), 2, "a server in trouble is left alone");
        assert!(matches!(world.row().await.state, ConnectionState::Active));
        assert!(matches!(world.begin().await, Err(ConnectError { step: "refresh", .. })));

        world.stranger.as_it_should(TOKEN);
        world.clock.advance(Duration::from_secs(15));
        assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
        assert!(world.row().await.last_error.is_none());
    }
}

#[tokio::test]
async fn only_a_confirmed_end_ends_a_connection() {
    for code in ["invalid_grant", "invalid_client"] {
        let world = expired().await;
        world.stranger.answers(TOKEN, Reply::Json(400, json!({ "error": code })));
        assert!(needs_consent(&world.credential().await));
        assert!(needs_consent(&world.credential().await));
        assert_eq!(world.stranger.count(TOKEN), 2);
        assert!(world.row().await.last_error.is_some());
        world.stranger.as_it_should(TOKEN);
        world.connect().await;
        assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
        assert_eq!(world.stranger.count("POST /tenant/register"), if code == "invalid_client" { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_wrong_secret_in_the_configuration_ends_nothing() {
    let settings = OAuthSettings {
        client_id: Some("by hand".to_owned()),
        client_secret: Some(Secret::new("right".to_owned())),
        ..OAuthSettings::default()
    };
    let world = World::with(settings).await;
    world.connect().await;
    world.clock.advance(Duration::from_secs(3600));
    world.stranger.answers(TOKEN, Reply::Json(401, json!({ "error": "invalid_client" })));
    assert!(in_trouble(&world.credential().await));
    world.stranger.as_it_should(TOKEN);
    world.clock.advance(Duration::from_secs(15));
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
}

/// Another process rotated first: its row counts, not the refusal.
#[tokio::test]
async fn invalid_grant_is_believed_only_of_the_row_that_is_there() {
    let world = expired().await;
    let other = connections(&world.store, &world.vault, &world.registry, &world.clock);
    let (ours, theirs) = tokio::join!(world.credential(), other.credential(&world.key));
    assert_eq!((bearer(&ours.unwrap()), bearer(&theirs.unwrap())), ("Bearer at-2", "Bearer at-2"));
    assert!(matches!(world.row().await.state, ConnectionState::Active));
}

#[tokio::test]
async fn a_refresh_that_a_crash_left_behind_is_taken_up() {
    let mut world = expired().await;
    elsewhere(&world).await;
    world.restart();
    world.store.clock().advance(crate::store::REFRESH_LEASE);
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    assert!(world.row().await.refreshing_since.is_none());
}

#[tokio::test]
async fn what_another_process_gets_is_waited_for() {
    let world = expired().await;
    let row = world.row().await;
    let now = world.clock.now();
    let lease = elsewhere(&world).await;
    let connections = world.connections.clone();
    let key = world.key.clone();
    let waiting = tokio::spawn(async move { connections.credential(&key).await });
    let (looked, mut seen) = tokio::sync::mpsc::unbounded_channel();
    world.connections.checkpoints.at_each_step(Some(Box::new(move |step| {
        let _ = looked.send(step);
        Box::pin(std::future::ready(()))
    })));
    while !matches!(seen.recv().await.unwrap(), Step::Waiting | Step::Intended) {}
    let mut theirs = Tokens::default();
    "theirs".clone_into(&mut theirs.access_token);
    let sealed = world.connections.seal_tokens(&world.key, &theirs).unwrap();
    let expires_at = Some(now.after(Duration::from_secs(60)));
    let renewed = Renewed { sealed: &sealed, scope: "", expires_at, at: now };
    let finished = world.store.finish_refresh((row.id, row.version, lease.fence), &renewed, now).await.unwrap();
    assert_eq!(finished, Swapped::Yes);
    assert_eq!(bearer(&waiting.await.unwrap().unwrap()), "Bearer theirs");
    assert_eq!(world.stranger.count(TOKEN), 1);
}

#[tokio::test]
async fn an_upstream_that_rejects_fresh_tokens_wants_a_person() {
    let world = World::new().await;
    world.connect().await;
    let first = world.credential().await.unwrap();
    let second = world.connections.renew(&world.key, &first, None).await.unwrap();
    assert!(needs_consent(&world.connections.renew(&world.key, &second, None).await));
    assert_eq!(world.stranger.count(TOKEN), 2);
}

#[tokio::test]
async fn without_a_refresh_token_the_end_is_the_end() {
    let world = World::new().await;
    let granted = json!({ "access_token": "only", "token_type": "Bearer", "expires_in": 60 });
    world.stranger.answers(TOKEN, Reply::Json(200, granted));
    world.connect().await;
    world.clock.advance(Duration::from_secs(55));
    world.connections.refresh_due().await;
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer only");
    world.clock.advance(Duration::from_secs(5));
    world.connections.refresh_due().await;
    assert!(needs_consent(&world.credential().await));
    assert_eq!(world.stranger.count(TOKEN), 1);
}

/// Security case B 67.
#[tokio::test]
async fn b67_a_token_without_an_expiry_is_good_until_it_is_rejected() {
    let world = World::new().await;
    world.stranger.answers(TOKEN, Reply::Json(200, json!({ "access_token": "x", "token_type": "BEARER" })));
    world.connect().await;
    world.clock.advance(Duration::from_secs(10_000_000));
    let credential = world.credential().await.unwrap();
    assert_eq!(bearer(&credential), "Bearer x");
    assert!(needs_consent(&world.connections.renew(&world.key, &credential, None).await));
}

#[tokio::test]
async fn tokens_are_renewed_ahead_of_time() {
    let world = World::new().await;
    world.connect().await;
    world.credential().await.unwrap();
    world.connections.refresh_due().await;
    assert_eq!(world.stranger.count(TOKEN), 1);
    world.clock.advance(Duration::from_secs(3600 - 60));
    assert!(world.connections.cached(&world.key).is_some());
    world.connections.refresh_due().await;
    assert_eq!(bearer(&world.connections.cached(&world.key).unwrap()), "Bearer at-2");

    // Trouble ahead of time is nobody's trouble yet.
    world.clock.advance(Duration::from_secs(3600 - 60));
    world.stranger.answers(TOKEN, Reply::Text(500, ""));
    world.connections.refresh_due().await;
    world.connections.refresh_due().await;
    assert_eq!(world.stranger.count(TOKEN), 3);
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
}

/// Three connections at one upstream that have just expired.
async fn three_expired() -> World {
    let world = World::new().await;
    *world.stranger.rotates.lock() = false;
    let endpoint = format!("{}/tenant/token", world.stranger.origin);
    for account in ["one", "two", "three"] {
        let key = ConnectionKey { account: Some(Account::parse(account).unwrap()), ..world.key.clone() };
        let given = seeding::Given {
            access: "at-0".to_owned(),
            refresh: "rt".to_owned(),
            token_endpoint: &endpoint,
            expires_in: Duration::ZERO,
        };
        world.store.put_connection(&seeding::row(&world.connections, &key, given)).await.unwrap();
    }
    world
}

#[tokio::test]
async fn the_keeper_goes_on_at_once_while_there_is_more_and_it_gets_somewhere() {
    let world = three_expired().await;
    assert!(world.connections.refresh_some(2).await);
    assert_eq!(world.stranger.count(TOKEN), 2);
    assert!(!world.connections.refresh_some(2).await, "there was one left");
    assert_eq!(world.stranger.count(TOKEN), 3);

    let world = three_expired().await;
    world.stranger.answers(TOKEN, Reply::Text(500, ""));
    assert!(!world.connections.refresh_some(2).await, "it would ask a server in trouble again and again");
}

#[tokio::test]
async fn what_expires_is_renewed_although_nobody_asks() {
    let world = expired().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let keeper = tokio::spawn(world.connections.clone().keep_fresh(stopped));
    while world.row().await.version == 1 {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    keeper.await.unwrap();
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    assert_eq!(world.stranger.count(TOKEN), 2);
}

#[tokio::test]
async fn keep_fresh_stops_when_it_is_told_to() {
    let world = World::new().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let keeper = tokio::spawn(world.connections.clone().keep_fresh(stopped));
    stop.send(true).unwrap();
    keeper.await.unwrap();
}

#[tokio::test]
async fn where_the_upstream_is_and_that_it_is_used_is_remembered() {
    let world = World::new().await;
    world.connect().await;
    assert_eq!(world.connections.endpoint_path(&world.key).await.as_deref(), Some("/mcp"));
    let credential = world.credential().await.unwrap();
    let used = || Timestamp(credential.used.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(used(), Timestamp(0));
    world.connections.use_now(&credential);
    let first = used();
    assert!(world.clock.now().since(first) < Duration::from_secs(60), "{first:?}");
    world.clock.advance(Duration::from_secs(60));
    world.connections.use_now(&credential);
    assert_eq!(used(), first, "it is written down now and then");
    world.clock.advance(Duration::from_secs(240));
    world.connections.use_now(&credential);
    assert!(used() > first);
    // What says no more than the origin says nothing.
    for path in ["", "/"] {
        let resource = Some(format!("{}{path}", world.stranger.origin));
        let row = world.row().await;
        let mut tokens = world.connections.open_tokens(&row).unwrap();
        tokens.server.as_mut().unwrap().resource = resource;
        let sealed = world.connections.seal_tokens(&world.key, &tokens).unwrap();
        world.store.put_connection(&Connection { sealed, ..row }).await.unwrap();
        assert_eq!(world.connections.endpoint_path(&world.key).await, None, "{path:?}");
    }
}

#[tokio::test]
async fn a_token_of_a_short_life_counts_as_new_for_half_of_it() {
    let world = World::new().await;
    let granted = json!({ "access_token": "x", "refresh_token": "r", "token_type": "Bearer", "expires_in": 100 });
    world.stranger.answers(TOKEN, Reply::Json(200, granted));
    world.connect().await;
    world.clock.advance(Duration::from_secs(100));
    world.credential().await.unwrap();
    let wish = Duration::from_secs(600);
    world.connections.credential_lasting(&world.key, wish).await.unwrap();
    assert_eq!(world.stranger.count(TOKEN), 2);
    world.clock.advance(Duration::from_secs(55));
    world.connections.credential_lasting(&world.key, wish).await.unwrap();
    assert_eq!(world.stranger.count(TOKEN), 3);
}

#[tokio::test]
async fn what_is_forgotten_is_read_again() {
    let world = World::new().await;
    world.connect().await;
    let id = world.credential().await.unwrap().connection().unwrap();
    world.store.delete_connection(id).await.unwrap();
    assert!(world.connections.cached(&world.key).is_some());
    world.connections.forget(id);
    assert!(world.connections.cached(&world.key).is_none());
    assert!(needs_consent(&world.credential().await));
}
