//! People and sessions.

use super::*;
use crate::ids::Digest;

pub(super) async fn names_are_unique_without_case(store: &Store) {
    let ada = User { email: Some("ada@example.com".to_owned()), role: Role::Administrator, ..user("Ada") };
    store.create_user(&ada).await.unwrap();
    assert!(matches!(store.create_user(&user("aDA")).await, Err(StoreError::Conflict(_))));
    let found = store.user_by_name("ADA").await.unwrap().unwrap();
    assert_eq!((found.id, found.name.as_str(), found.role), (ada.id, "Ada", Role::Administrator));
    assert_eq!((found.email, found.password_hash), (ada.email, ada.password_hash));
    assert!(!found.disabled);
    assert_eq!(found.created_at, NOW);
    assert!(store.user_by_name("Ad").await.unwrap().is_none());
    store.set_password_hash(ada.id, "new").await.unwrap();
    assert_eq!(store.user(ada.id).await.unwrap().unwrap().password_hash.as_deref(), Some("new"));
    known_user(store, "Bob").await;
    let names: Vec<_> = store.users().await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["Ada", "Bob"]);
}

pub(super) async fn an_administrator_counts_while_enabled(store: &Store) {
    known_user(store, "member").await;
    assert!(!store.has_administrator().await.unwrap());
    let admin = User { role: Role::Administrator, ..user("admin") };
    store.create_user(&admin).await.unwrap();
    assert!(store.has_administrator().await.unwrap());
    let other = User { role: Role::Administrator, ..user("other") };
    store.create_user(&other).await.unwrap();
    store.disable_user(other.id, NOW).await.unwrap().unwrap();
    assert!(store.user(other.id).await.unwrap().unwrap().disabled);
    assert_eq!(store.disabled_users().await.unwrap(), [other.id]);
    store.enable_user(other.id).await.unwrap();
    assert!(store.set_role(admin.id, Role::Member).await.unwrap());
    assert!(store.has_administrator().await.unwrap());
}

pub(super) async fn the_last_administrator_stays(store: &Store) {
    let (admin, other) = (
        User { role: Role::Administrator, ..user("admin") },
        User { role: Role::Administrator, disabled: true, ..user("away") },
    );
    for user in [&admin, &other] {
        store.create_user(user).await.unwrap();
    }
    let last = |result: Result<(), StoreError>| matches!(result, Err(StoreError::LastAdministrator));
    assert!(last(store.disable_user(admin.id, NOW).await.map(drop)), "a disabled one does not count");
    assert!(last(store.set_role(admin.id, Role::Member).await.map(drop)));
    assert!(last(store.delete_user(admin.id, NOW).await.map(drop)));
    let unchanged = store.user(admin.id).await.unwrap().unwrap();
    assert_eq!((unchanged.role, unchanged.disabled), (Role::Administrator, false));
    assert!(store.set_role(admin.id, Role::Administrator).await.unwrap());
    assert!(store.delete_user(other.id, NOW).await.unwrap().is_some());
    assert!(!store.set_role(other.id, Role::Administrator).await.unwrap());
    assert!(!store.enable_user(other.id).await.unwrap());
    assert_eq!(store.disable_user(other.id, NOW).await.unwrap(), None);
}

pub(super) async fn disabling_ends_what_a_person_has_open_and_keeps_connections(store: &Store) {
    let ada = known_user(store, "ada").await;
    store.insert_session(&session(ada, "a")).await.unwrap();
    let granted = known_grant(store, ada).await;
    let connected = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let before = store.latest_change().await.unwrap();
    let ended = Ended { grants: vec![granted], connections: vec![connected] };
    assert_eq!(store.disable_user(ada, later(1)).await.unwrap(), Some(ended));
    assert_eq!(told(store, before).await, [Change::GrantRevoked(granted), Change::PeopleChanged]);
    assert!(store.session(&Digest::of("a"), NOW).await.unwrap().is_none());
    assert!(store.enable_user(ada).await.unwrap());
    assert!(store.connection_by_id(connected).await.unwrap().is_some());
    assert!(store.grant(granted).await.unwrap().unwrap().revoked_at.is_some(), "consent is asked for again");
}

pub(super) async fn sessions_end(store: &Store) {
    let ada = known_user(store, "ada").await;
    for token in ["a", "b", "c"] {
        store.insert_session(&session(ada, token)).await.unwrap();
    }
    assert!(matches!(store.insert_session(&session(ada, "a")).await, Err(StoreError::Conflict(_))));
    let a = Digest::of("a");
    assert_eq!(store.session(&a, NOW).await.unwrap().unwrap().user, ada);
    assert!(store.session(&a, later(100)).await.unwrap().is_none());
    store.touch_session(&a, later(61)).await.unwrap();
    assert_eq!(store.session(&a, NOW).await.unwrap().unwrap().last_seen_at, later(61));
    store.delete_session(&a).await.unwrap();
    assert!(store.session(&a, NOW).await.unwrap().is_none());
    assert_eq!(store.delete_sessions_of(ada).await.unwrap(), 2);
}

pub(super) async fn sessions_have_names_and_belong_to_people(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let [first, second, third] = ["a", "b", "c"].map(|token| session(ada, token));
    for one in [&first, &second, &third, &session(bob, "d")] {
        store.insert_session(one).await.unwrap();
    }
    store.touch_session(&second.token, later(5)).await.unwrap();
    let listed = store.sessions_of(ada, NOW).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (3, second.id));
    assert_eq!((listed[0].means.as_str(), listed[0].user_agent.as_str()), ("password", "curl"));
    assert!(store.sessions_of(ada, later(100)).await.unwrap().is_empty());

    assert!(!store.delete_session_of(bob, first.id).await.unwrap());
    assert!(store.delete_session_of(ada, first.id).await.unwrap());
    assert!(!store.delete_session_of(ada, first.id).await.unwrap());

    let other = Digest::of("other");
    assert!(store.rotate_session(&second.token, &other).await.unwrap());
    assert!(!store.rotate_session(&second.token, &other).await.unwrap());
    assert!(store.session(&second.token, NOW).await.unwrap().is_none());
    assert_eq!(store.session(&other, NOW).await.unwrap().unwrap().id, second.id);

    assert_eq!(store.delete_sessions_but(ada, second.id).await.unwrap(), 1);
    store.sweep_idle_sessions(NOW).await.unwrap();
    assert_eq!(store.sessions_of(ada, NOW).await.unwrap().len(), 1);
    assert!(store.sessions_of(bob, NOW).await.unwrap().is_empty());
}

pub(super) async fn a_person_goes_with_everything(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    store.insert_session(&session(ada, "a")).await.unwrap();
    let (granted, other) = (known_grant(store, ada).await, known_grant(store, bob).await);
    let connected = store.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let decision = Upstream { decided_by: Some(ada), ..upstream("mcp.example", None) };
    store.put_upstream(&decision).await.unwrap();
    let before = store.latest_change().await.unwrap();

    let ended = Ended { grants: vec![granted], connections: vec![connected] };
    assert_eq!(store.delete_user(ada, later(1)).await.unwrap(), Some(ended));
    assert_eq!(store.delete_user(ada, later(1)).await.unwrap(), None);

    assert!(store.user(ada).await.unwrap().is_none());
    assert!(store.session(&Digest::of("a"), NOW).await.unwrap().is_none());
    assert!(store.connection_by_id(connected).await.unwrap().is_none());
    assert!(store.code(&Digest::of(granted.to_string())).await.unwrap().is_none());
    assert_eq!(store.grants_revoked_since(later(1)).await.unwrap(), [granted]);
    assert!(store.grant(other).await.unwrap().unwrap().revoked_at.is_none());
    assert_eq!(
        told(store, before).await,
        [Change::GrantRevoked(granted), Change::ConnectionChanged(connected), Change::PeopleChanged]
    );
    assert_eq!(store.upstream("mcp.example").await.unwrap().unwrap().decided_by, None);
}
