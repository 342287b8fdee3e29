//! Sessions of MCP clients.

use super::*;
use crate::ids::{Digest, UserId};

const ROOM: RoomForSessions = RoomForSessions { of_one: 2, of_all: 4 };

pub(super) async fn an_mcp_session_is_kept_used_and_ended(store: &Store) {
    let alice = known_user(store, "alice").await;
    let session = session("first", alice, NOW);
    assert!(store.insert_mcp_session(&session, ROOM).await.unwrap());
    assert!(matches!(store.insert_mcp_session(&session, ROOM).await, Err(StoreError::Conflict(_))));
    let found = store.mcp_session(&session.token).await.unwrap().unwrap();
    assert_eq!((found.user, found.client_id.as_str(), found.realm.as_str()), (alice, "client", ""));
    assert_eq!((found.sealed, found.last_seen_at), (vec![1, 2], NOW));

    assert!(store.update_mcp_session(&session.token, &[3], later(60)).await.unwrap());
    assert!(store.touch_mcp_session(&session.token, later(90)).await.unwrap());
    let found = store.mcp_session(&session.token).await.unwrap().unwrap();
    assert_eq!((found.sealed, found.last_seen_at, found.created_at), (vec![3], later(90), NOW));

    store.sweep_mcp_sessions(later(89)).await.unwrap();
    assert!(store.delete_mcp_session(&session.token).await.unwrap());
    assert!(!store.delete_mcp_session(&session.token).await.unwrap());
    assert!(!store.touch_mcp_session(&session.token, later(91)).await.unwrap());
    assert!(!store.update_mcp_session(&session.token, &[], later(91)).await.unwrap());
    assert!(store.mcp_session(&session.token).await.unwrap().is_none());
}

pub(super) async fn mcp_sessions_have_a_room_for_each_person_and_for_all(store: &Store) {
    let (alice, bob, carol) =
        (known_user(store, "alice").await, known_user(store, "bob").await, known_user(store, "carol").await);
    let there = async |name: &str| store.mcp_session(&Digest::of(name)).await.unwrap().is_some();
    for (number, name) in ["a1", "a2", "a3"].into_iter().enumerate() {
        let seen = later(u64::try_from(number).unwrap());
        assert!(store.insert_mcp_session(&session(name, alice, seen), ROOM).await.unwrap());
    }
    assert!(!there("a1").await && there("a2").await && there("a3").await, "the oldest gives way");
    for name in ["b1", "b2"] {
        assert!(store.insert_mcp_session(&session(name, bob, NOW), ROOM).await.unwrap());
    }
    assert!(!store.insert_mcp_session(&session("c1", carol, NOW), ROOM).await.unwrap(), "there is no room for more");
    assert!(
        store.insert_mcp_session(&session("a4", alice, later(9)), ROOM).await.unwrap(),
        "but in the place of one's own"
    );

    store.delete_user(bob, NOW).await.unwrap();
    assert!(!there("b1").await && !there("b2").await);
    store.sweep_mcp_sessions(later(2)).await.unwrap();
    assert!(!there("a3").await && there("a4").await);
}

fn session(id: &str, user: UserId, seen: Timestamp) -> McpSession {
    McpSession {
        token: Digest::of(id),
        user,
        client_id: "client".to_owned(),
        realm: String::new(),
        sealed: vec![1, 2],
        created_at: NOW,
        last_seen_at: seen,
    }
}
