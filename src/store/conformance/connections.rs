//! Connections and upstreams.

use super::*;
use crate::ids::{ConnectionId, Digest};

pub(super) async fn renewed_consent_keeps_the_id(store: &Store) {
    let ada = known_user(store, "ada").await;
    let before = store.latest_change().await.unwrap();
    let first = connection(ada, "mcp.example", "");
    assert_eq!(store.put_connection(&first).await.unwrap(), first.id);
    let lease = held(store, first.id, 1, "a", NOW).await;
    assert!(store.fail_refresh(&lease, &ended("gone")).await.unwrap());
    let renewed = Connection { sealed: b"second".to_vec(), updated_at: later(9), ..connection(ada, "mcp.example", "") };
    assert_eq!(store.put_connection(&renewed).await.unwrap(), first.id);
    let work = store.put_connection(&connection(ada, "mcp.example", "work")).await.unwrap();
    assert_ne!(work, first.id);

    let found = store.connection(ada, "mcp.example", "").await.unwrap().unwrap();
    assert_eq!((found.id, found.version, found.sealed.as_slice()), (first.id, 2, &b"second"[..]));
    assert_eq!((found.state, found.last_error), (ConnectionState::Active, None));
    assert_eq!((found.created_at, found.updated_at), (NOW, later(9)));
    assert_eq!(store.connections_of(ada).await.unwrap().len(), 2);
    assert_eq!(store.connections().await.unwrap().len(), 2);
    assert!(store.delete_connection(work).await.unwrap());
    assert!(!store.delete_connection(work).await.unwrap());
    let (first, work) = (Change::ConnectionChanged(first.id), Change::ConnectionChanged(work));
    assert_eq!(told(store, before).await, [first, first, first, work, work]);
}

pub(super) async fn a_title_stays_with_its_person_and_account(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let first = connection(ada, "mcp.example", "");
    store.put_connection(&Connection { expires_at: Some(later(900)), ..first.clone() }).await.unwrap();
    assert!(!store.rename_connection(bob, first.id, Some("mine")).await.unwrap());
    assert!(store.rename_connection(ada, first.id, Some("the office")).await.unwrap());
    assert!(store.rename_connection(ada, first.id, Some(&"x".repeat(61))).await.is_err());
    let title = async || store.held_connections(ada).await.unwrap().remove(0).title;
    assert_eq!(title().await.as_deref(), Some("the office"));
    assert!(store.held_connections(ada).await.unwrap()[0].refresh_at.is_some_and(|at| at < later(900)));

    store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    assert_eq!(title().await.as_deref(), Some("the office"), "consent was renewed");
    let other = connection(ada, "mcp.example", "");
    assert_eq!(store.replace_connection(&other).await.unwrap(), Some(first.id));
    assert_eq!(title().await.as_deref(), Some("the office"), "another value was given");
    assert!(store.rename_connection(ada, other.id, None).await.unwrap());
    assert_eq!(title().await, None);
}

/// One of many that intend the same at the same moment gets the lease; it lasts for its time, and no longer.
pub(super) async fn a_refresh_is_begun_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let begin = |at: Timestamp| {
        winners(move |number| {
            let store = store.clone();
            async move {
                // The holder of a lease may take it again.
                let holder = format!("{number} at {}", at.0);
                let begun = store.begin_refresh(&intent(id, 1, &holder), at).await.unwrap();
                matches!(begun, Begun::Held(_))
            }
        })
    };
    assert_eq!(begin(NOW).await, 1);
    assert_eq!(store.connection_by_id(id).await.unwrap().unwrap().refreshing_since, Some(NOW));
    let over = NOW.after(REFRESH_LEASE);
    assert_eq!(begin(over.before(Duration::from_secs(1))).await, 0);
    assert_eq!(begin(over).await, 1);
    let lease = held(store, id, 1, "next", over.after(REFRESH_LEASE)).await;
    assert_eq!(lease.earlier.as_ref().map(|earlier| earlier.at), Some(over));
    assert!(store.fail_refresh(&lease, &failure("502", true)).await.unwrap());
    let failed = store.connection_by_id(id).await.unwrap().unwrap();
    assert_eq!((failed.refreshing_since, failed.last_error.as_deref(), failed.version), (None, Some("502"), 1));
    assert_eq!(begin(over).await, 1);
}

/// The holder may take its own lease anew, and one that was given back or taken from the dead is free, but what was intended
/// is known to the next. A clock that was set back makes no lease longer.
pub(super) async fn the_next_holder_knows_of_the_last(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let first = held(store, id, 1, "a", NOW).await;
    assert!(first.earlier.is_none());
    let again = held(store, id, 1, "a", later(1)).await;
    assert_eq!(again.earlier.as_ref().map(|earlier| (earlier.holder.as_str(), earlier.at)), Some(("a", NOW)));
    assert!(again.fence > first.fence);
    let Begun::Busy { holder, fence } = store.begin_refresh(&intent(id, 1, "b"), later(2)).await.unwrap() else {
        panic!()
    };
    assert_eq!((holder.as_str(), fence), ("a", again.fence));
    store.release_refresh(id, first.fence).await.unwrap();
    assert!(matches!(store.begin_refresh(&intent(id, 1, "b"), later(2)).await.unwrap(), Begun::Busy { .. }));
    store.release_refresh(id, again.fence).await.unwrap();
    let next = held(store, id, 1, "b", later(2)).await;
    let earlier = next.earlier.clone().unwrap();
    assert_eq!((earlier.holder.as_str(), earlier.at, earlier.presented), ("a", later(1), intent(id, 1, "a").presented));
    assert!(store.fail_refresh(&next, &failure("timeout", false)).await.unwrap());
    let unknown = held(store, id, 1, "a", later(3)).await;
    assert_eq!(unknown.earlier.map(|earlier| earlier.holder).as_deref(), Some("b"));
    let before = NOW.before(Duration::from_secs(3600));
    held(store, id, 1, "b", before).await;
}

pub(super) async fn a_refresh_loses_to_a_newer_version(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let renewed = Renewed { sealed: b"renewed", scope: "all", expires_at: None, at: later(3) };
    let lease = held(store, id, 1, "a", NOW).await;
    let finish = |fence| store.finish_refresh((id, 1, fence), &renewed, later(3));
    assert_eq!(finish(lease.fence).await.unwrap(), Swapped::Yes);
    let found = store.connection_by_id(id).await.unwrap().unwrap();
    assert_eq!((found.version, found.sealed.as_slice(), found.scope.as_str()), (2, &b"renewed"[..], "all"));
    assert_eq!((found.expires_at, found.refreshing_since, found.updated_at), (None, None, later(3)));

    let before = store.latest_change().await.unwrap();
    assert!(matches!(store.begin_refresh(&intent(id, 1, "a"), later(4)).await.unwrap(), Begun::Moved));
    assert_eq!(finish(lease.fence).await.unwrap(), Swapped::Superseded);
    assert!(!store.fail_refresh(&lease, &ended("gone")).await.unwrap());
    assert!(!store.end_connection(id, 1, "gone").await.unwrap());
    assert_eq!(store.connection_by_id(id).await.unwrap().unwrap().state, ConnectionState::Active);
    assert_eq!(told(store, before).await, []);
    assert!(store.delete_connection(id).await.unwrap());
    assert_eq!(finish(lease.fence).await.unwrap(), Swapped::Superseded);
}

/// Whoever was paused past the lease cannot get between a later holder and its answer, but an answer that nobody else has
/// is not thrown away.
pub(super) async fn an_answer_that_comes_late_waits_for_the_later_holder(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let renewed = Renewed { sealed: b"late", scope: "", expires_at: None, at: NOW };
    let paused = held(store, id, 1, "a", NOW).await;
    let taken = NOW.after(REFRESH_LEASE);
    let holder = held(store, id, 1, "b", taken).await;
    let late = || store.finish_refresh((id, 1, paused.fence), &renewed, taken);
    assert_eq!(late().await.unwrap(), Swapped::Busy);
    assert!(!store.fail_refresh(&paused, &ended("gone")).await.unwrap());
    assert!(store.fail_refresh(&holder, &ended("refused")).await.unwrap());
    assert_eq!(late().await.unwrap(), Swapped::Yes);
    let found = store.connection_by_id(id).await.unwrap().unwrap();
    assert_eq!((found.state, found.version, found.last_error), (ConnectionState::Active, 2, None));

    let again = held(store, id, 2, "b", taken).await;
    let newer = Renewed { sealed: b"newer", ..renewed };
    assert_eq!(store.finish_refresh((id, 2, again.fence), &newer, taken).await.unwrap(), Swapped::Yes);
    assert_eq!(store.connection_by_id(id).await.unwrap().unwrap().sealed, b"newer");
}

pub(super) async fn urgent_connections_come_first(store: &Store) {
    let ada = known_user(store, "ada").await;
    let expiring =
        [("a.example", Some(2000)), ("b.example", Some(1000)), ("c.example", None), ("d.example", Some(3000))];
    let mut ids = Vec::new();
    for (authority, expiry) in expiring {
        let connection = Connection { expires_at: expiry.map(later), ..connection(ada, authority, "") };
        ids.push(store.put_connection(&connection).await.unwrap());
    }
    let dead = Connection { state: ConnectionState::NeedsConsent, ..connection(ada, "e.example", "") };
    store.put_connection(&Connection { expires_at: Some(later(1)), ..dead }).await.unwrap();
    let due = async |by, most| -> Vec<String> {
        let due = store.connections_due(later(by), NOW, most).await.unwrap();
        due.into_iter().map(|connection| connection.authority).collect()
    };
    // A fifth of the life before the end, less a sixth of that at most.
    assert_eq!(due(1700, 9).await, ["b.example", "a.example"]);
    assert_eq!(due(1700, 1).await, ["b.example"]);
    assert_eq!(due(799, 9).await, [""; 0]);
    held(store, ids[1], 1, "a", NOW).await;
    assert_eq!(due(1700, 9).await, ["a.example"]);
    store.postpone_refresh(ids[0], 1, Some(later(2000))).await.unwrap();
    assert_eq!(due(1999, 9).await, [""; 0]);
    assert_eq!(due(2000, 9).await, ["a.example"]);
}

fn intent(connection: ConnectionId, version: i64, holder: &str) -> Intent<'_> {
    Intent { connection, version, holder, presented: Digest::of("refresh token") }
}

async fn held(store: &Store, id: ConnectionId, version: i64, holder: &str, now: Timestamp) -> Lease {
    match store.begin_refresh(&intent(id, version, holder), now).await.unwrap() {
        Begun::Held(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn failure(error: &str, certain: bool) -> Failure<'_> {
    Failure { state: ConnectionState::Active, error, certain, again_at: None }
}

fn ended(error: &str) -> Failure<'_> {
    Failure { state: ConnectionState::NeedsConsent, ..failure(error, true) }
}

pub(super) async fn step_ups_go_with_their_connection(store: &Store) {
    let ada = known_user(store, "ada").await;
    let id = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap(), None);
    for text in ["old", "new"] {
        store.put_step_ups(id, text).await.unwrap();
    }
    store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap().as_deref(), Some("new"), "renewed consent keeps them");
    assert!(store.delete_connection(id).await.unwrap());
    assert_eq!(store.step_ups(id).await.unwrap(), None);
    store.put_step_ups(id, "too late").await.unwrap();
    assert_eq!(store.step_ups(id).await.unwrap(), None);
}

pub(super) async fn upstreams_have_an_alias_each(store: &Store) {
    store.put_upstream(&upstream("a.example", Some("notes"))).await.unwrap();
    store.put_upstream(&upstream("b.example", None)).await.unwrap();
    store.put_upstream(&upstream("c.example", None)).await.unwrap();
    let before = store.latest_change().await.unwrap();
    let taken = store.put_upstream(&upstream("b.example", Some("Notes"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    assert_eq!(told(store, before).await, []);

    let denied = Upstream { decision: Decision::Denied, name: Some("A".to_owned()), ..upstream("a.example", None) };
    store.put_upstream(&denied).await.unwrap();
    let found = store.upstream("a.example").await.unwrap().unwrap();
    assert_eq!((found.decision, found.alias, found.name.as_deref()), (Decision::Denied, None, Some("A")));
    assert_eq!((found.decided_by, found.decided_at), (None, NOW));
    assert!(store.delete_upstream("b.example").await.unwrap());
    assert!(!store.delete_upstream("b.example").await.unwrap());
    assert_eq!(told(store, before).await, [Change::UpstreamsChanged; 2]);
    let left: Vec<_> = store.upstreams().await.unwrap().into_iter().map(|upstream| upstream.authority).collect();
    assert_eq!(left, ["a.example", "c.example"]);
}

pub(super) async fn what_is_known_of_upstreams_is_replaced(store: &Store) {
    for (text, secret) in [("old", Some(vec![1])), ("new", None)] {
        let found = Discovery { authority: "a.example".to_owned(), document: text.to_owned(), found_at: NOW };
        store.put_discovery(&found).await.unwrap();
        let client = UpstreamClient {
            issuer: "https://a.example".to_owned(),
            redirect_uri: "https://gw.example/oauth/callback".to_owned(),
            client_id: text.to_owned(),
            sealed_secret: secret,
            auth_method: "none".to_owned(),
            expires_at: None,
            created_at: NOW,
        };
        store.put_upstream_client(&client).await.unwrap();
    }
    assert_eq!(store.discovery("a.example").await.unwrap().unwrap().document, "new");
    assert!(store.discovery("b.example").await.unwrap().is_none());
    let (issuer, redirect_uri) = ("https://a.example", "https://gw.example/oauth/callback");
    let client = store.upstream_client(issuer, redirect_uri).await.unwrap().unwrap();
    assert_eq!((client.client_id.as_str(), client.sealed_secret), ("new", None));
    assert!(store.upstream_client(issuer, "https://other.example").await.unwrap().is_none());
    assert!(store.delete_upstream_client(issuer, redirect_uri).await.unwrap());
    assert!(!store.delete_upstream_client(issuer, redirect_uri).await.unwrap());
}
