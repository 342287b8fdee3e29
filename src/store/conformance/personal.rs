//! What people give by hand, and what they hide from `/mcp`.

use super::*;
use crate::ids::UserId;

/// As `connect` makes them.
fn given(user: UserId, authority: &str, sealed: &[u8]) -> Connection {
    Connection {
        sealed: sealed.to_vec(),
        personal: Some("x-api-key".to_owned()),
        scope: String::new(),
        expires_at: None,
        ..connection(user, authority, "")
    }
}

pub(super) async fn what_people_give_replaces_the_connection(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (first, second) = (given(ada, "mcp.example", b"1"), given(ada, "mcp.example", b"2"));
    assert_eq!(store.replace_connection(&first).await.unwrap(), None);
    let before = store.latest_change().await.unwrap();
    assert_eq!(store.replace_connection(&second).await.unwrap(), Some(first.id));
    assert_eq!(
        told(store, before).await,
        [Change::ConnectionChanged(first.id), Change::ConnectionChanged(second.id)],
        "other processes end what is open with the first"
    );
    assert!(store.connection_by_id(first.id).await.unwrap().is_none());
    let found = store.connection(ada, "mcp.example", "").await.unwrap().unwrap();
    assert_eq!((found.id, found.sealed.as_slice()), (second.id, &b"2"[..]));
    assert_eq!(found.personal.as_deref(), Some("x-api-key"));
    // Tokens in its place.
    let tokens = connection(ada, "mcp.example", "");
    assert_eq!(store.put_connection(&tokens).await.unwrap(), second.id);
    assert_eq!(store.connection_by_id(second.id).await.unwrap().unwrap().personal, None);
    store.delete_user(ada, NOW).await.unwrap();
    assert!(store.replace_connection(&first).await.is_err(), "of somebody who is gone");
}

pub(super) async fn what_people_gave_is_parted_from_by_nobody(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let tokens = connection(ada, "mcp.example", "");
    store.put_connection(&tokens).await.unwrap();
    store.replace_connection(&given(ada, "mcp.example", b"1")).await.unwrap();
    let last = given(ada, "mcp.example", b"2");
    store.replace_connection(&last).await.unwrap();
    assert!(store.delete_connection(last.id).await.unwrap());
    store.replace_connection(&given(bob, "mcp.example", b"3")).await.unwrap();
    store.delete_user(bob, NOW).await.unwrap();
    let taken = store.take_partings(NOW, later(30)).await.unwrap();
    assert_eq!(taken.iter().map(|parting| parting.id).collect::<Vec<_>>(), [tokens.id], "only tokens are given back");
}

pub(super) async fn what_is_hidden_is_told_and_goes_with_the_person(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let member =
        |authority: &str, account: &str| MemberName { authority: authority.to_owned(), account: account.to_owned() };
    let (plain, work) = (member("mcp.example", ""), member("mcp.example", "work"));
    let before = store.latest_change().await.unwrap();
    for (member, changes) in [(&work, true), (&plain, true), (&work, false)] {
        assert_eq!(store.hide_member(ada, member).await.unwrap(), changes);
    }
    assert_eq!(store.hidden_members(ada).await.unwrap(), [plain.clone(), work.clone()]);
    assert!(store.hidden_members(bob).await.unwrap().is_empty());
    assert!(store.show_member(ada, &plain).await.unwrap());
    assert!(!store.show_member(ada, &plain).await.unwrap());
    assert_eq!(store.hidden_members(ada).await.unwrap(), std::slice::from_ref(&work));
    assert_eq!(told(store, before).await, [Change::SelectionChanged(ada); 3], "what changes nothing is not told");
    store.delete_user(ada, NOW).await.unwrap();
    assert!(store.hidden_members(ada).await.unwrap().is_empty());
    assert!(store.hide_member(ada, &work).await.is_err(), "of somebody who is gone");
}
