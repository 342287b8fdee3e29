//! Two nodes on one database.

use super::node::{Installation, Node};
use super::rotator::{Replay, Rotator};
use super::*;
use crate::checkpoints::Step;
use crate::store::REFRESH_LEASE;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

async fn two(replay: Replay) -> (Arc<Rotator>, Node, Node) {
    let rotator = Rotator::start(replay).await;
    let installation = Installation::new("sqlite::memory:".to_owned(), &rotator.authority);
    let store = Store::open(&installation.url).await.unwrap();
    let a = installation.node(&store, Clock::standing(), None).await;
    let b = installation.node(&store, Clock::standing(), None).await;
    a.connect(0).await;
    (rotator, a, b)
}

/// Where a node waits until it may go on.
#[derive(Clone)]
struct Gate {
    reached: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    fn at(node: &Node, stop: Step) -> Self {
        let gate = Self { reached: Arc::new(Semaphore::new(0)), opened: Arc::new(Semaphore::new(0)) };
        let here = gate.clone();
        node.at_each_step(Box::new(move |step| {
            let gate = here.clone();
            Box::pin(async move {
                if step == stop {
                    gate.reached.add_permits(1);
                    gate.opened.acquire().await.unwrap().forget();
                }
            })
        }));
        gate
    }

    async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    fn open(&self) {
        self.opened.add_permits(1000);
    }
}

/// DESIGN, issue 5: 500 concurrent requests on each node with one expired connection.
#[tokio::test]
async fn five_hundred_requests_on_each_node_refresh_once() {
    let (rotator, a, b) = two(Replay::Fatal).await;
    let requests = (0..500).flat_map(|_| [a.credential(), b.credential()]);
    for credential in join_all(requests).await {
        assert_eq!(bearer(&credential.unwrap()), "Bearer at-1");
    }
    assert_eq!(rotator.calls(), 1);
    assert_eq!(a.stored().await, ("rt-1".to_owned(), Some("rt-0".to_owned())));
}

/// Paused between the answer and the database for longer than the lease: the later holder's tokens stay.
#[tokio::test]
async fn a_paused_node_does_not_overwrite_what_a_later_holder_wrote() {
    let (rotator, a, b) = two(Replay::Forgiven).await;
    let gate = Gate::at(&a, Step::Answered);
    let connections = a.connections.clone();
    let key = a.key.clone();
    let paused = tokio::spawn(async move { connections.credential(&key).await });
    gate.reached().await;
    a.store.clock().advance(REFRESH_LEASE);
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-1");
    b.clock.advance(Duration::from_secs(7200));
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-2");
    gate.open();
    assert_eq!(bearer(&paused.await.unwrap().unwrap()), "Bearer at-2");
    a.connections.settle().await;
    assert_eq!((a.stored().await.0.as_str(), a.row().await.version), ("rt-2", 3));
    assert_eq!(rotator.calls(), 3);
}

/// Paused before the call for longer than the lease: nothing is sent.
#[tokio::test]
async fn a_node_that_was_paused_before_the_call_begins_anew() {
    let (rotator, a, b) = two(Replay::Fatal).await;
    let gate = Gate::at(&a, Step::Intended);
    let connections = a.connections.clone();
    let key = a.key.clone();
    let paused = tokio::spawn(async move { connections.credential(&key).await });
    gate.reached().await;
    a.store.clock().advance(REFRESH_LEASE);
    a.clock.advance(REFRESH_LEASE);
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-1");
    gate.open();
    assert_eq!(bearer(&paused.await.unwrap().unwrap()), "Bearer at-1");
    assert_eq!((rotator.calls(), rotator.refusals()), (1, 0));
}

/// The later holder is refused, because the earlier one has the answer: it is not lost.
#[tokio::test]
async fn an_answer_that_comes_late_revives_a_connection() {
    let (rotator, a, b) = two(Replay::Refused).await;
    let gate = Gate::at(&a, Step::Answered);
    let connections = a.connections.clone();
    let key = a.key.clone();
    let paused = tokio::spawn(async move { connections.credential(&key).await });
    gate.reached().await;
    a.store.clock().advance(REFRESH_LEASE);
    assert!(needs_consent(&b.credential().await));
    let ended = b.row().await;
    assert!(ended.last_error.unwrap().contains("its answer may be lost"));
    gate.open();
    assert_eq!(bearer(&paused.await.unwrap().unwrap()), "Bearer at-1");
    a.connections.settle().await;
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-1");
    b.clock.advance(Duration::from_secs(7200));
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-2");
    assert_eq!((rotator.calls(), rotator.refusals()), (3, 1));
}

/// Two of three generations: the newest token was never good, the one before it still is.
#[tokio::test]
async fn the_token_before_a_refused_one_is_tried_once() {
    let (rotator, a, b) = two(Replay::Refused).await;
    a.credential().await.unwrap();
    let mut tokens = a.connections.open_tokens(&a.row().await).unwrap();
    let good = tokens.refresh_token.replace("rt-77".to_owned());
    tokens.previous_refresh_token = good;
    let mut row = a.row().await;
    row.sealed = a.connections.seal_tokens(&a.key, &tokens).unwrap();
    row.expires_at = Some(a.clock.now());
    a.store.put_connection(&row).await.unwrap();
    assert_eq!(bearer(&b.credential().await.unwrap()), "Bearer at-2");
    assert_eq!((rotator.calls(), rotator.refusals()), (3, 1));
    assert_eq!(b.stored().await, ("rt-2".to_owned(), Some("rt-1".to_owned())));

    // Both are worth nothing: two calls, and no more.
    rotator.consent();
    rotator.consent();
    b.clock.advance(Duration::from_secs(7200));
    assert!(needs_consent(&b.credential().await));
    assert!(needs_consent(&b.credential().await));
    assert_eq!((rotator.calls(), rotator.refusals()), (5, 3));
    assert_eq!(b.row().await.last_error.as_deref(), Some("the upstream ended the authorization"));
}

/// The upstream rejects what a refresh brings that has not come to its end: joining that one would bring the same again.
#[tokio::test]
async fn what_is_rejected_before_its_refresh_is_over_is_refreshed_once_more() {
    let (rotator, a, b) = two(Replay::Fatal).await;
    let gate = Gate::at(&a, Step::Swapped);
    let (connections, key) = (a.connections.clone(), a.key.clone());
    let first = tokio::spawn(async move { connections.credential(&key).await });
    gate.reached().await;
    let rejected = b.credential().await.unwrap();
    assert_eq!(bearer(&rejected), "Bearer at-1");
    let renewed = a.connections.renew(&a.key, &rejected, None).await.unwrap();
    gate.open();
    assert_eq!((bearer(&renewed), bearer(&first.await.unwrap().unwrap())), ("Bearer at-2", "Bearer at-1"));
    assert_eq!((rotator.calls(), rotator.refusals()), (2, 0));
}

/// The keepers of both nodes see the same rows, and do not wait for each other.
#[tokio::test]
async fn keepers_share_the_work() {
    let (rotator, a, b) = two(Replay::Fatal).await;
    tokio::join!(a.connections.refresh_due(), b.connections.refresh_due());
    assert_eq!(rotator.calls(), 1);
    let gate = Gate::at(&a, Step::Answered);
    for node in [&a, &b] {
        node.clock.advance(Duration::from_secs(7200));
    }
    let connections = a.connections.clone();
    let held = tokio::spawn(async move { connections.refresh_due().await });
    gate.reached().await;
    b.connections.refresh_due().await;
    assert_eq!(rotator.calls(), 2);
    gate.open();
    held.await.unwrap();
    assert_eq!(a.stored().await.0, "rt-2");
}

/// The broker's wish: at least ten minutes.
#[tokio::test]
async fn a_token_that_does_not_last_is_refreshed_but_not_again_and_again() {
    const WISH: Duration = Duration::from_secs(600);
    let (rotator, a, _) = two(Replay::Fatal).await;
    let lasting = async |wish| {
        let credential = a.connections.credential_lasting(&a.key, wish).await.unwrap();
        credential.access_token().unwrap().to_owned()
    };
    assert_eq!(lasting(WISH).await, "at-1");
    a.clock.advance(Duration::from_secs(7200 - 650));
    assert_eq!(lasting(WISH).await, "at-1");
    a.clock.advance(Duration::from_secs(60));
    assert_eq!(lasting(WISH).await, "at-2");
    // More than this server ever gives.
    let forever = Duration::from_secs(100_000);
    assert_eq!(lasting(forever).await, "at-2");
    a.clock.advance(Duration::from_secs(61));
    assert_eq!(lasting(forever).await, "at-3");
    assert_eq!(lasting(forever).await, "at-3");
    assert_eq!(rotator.calls(), 3);
}
