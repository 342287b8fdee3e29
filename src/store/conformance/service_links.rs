//! Links of the token broker, and whose an e-mail address is.

use super::*;
use crate::ids::{ApiKeyId, Digest, Random, UserId};

pub(super) async fn a_link_is_used_once_by_whom_it_is_for(store: &Store) {
    let (alice, bob) = (known_user(store, "alice").await, known_user(store, "bob").await);
    let key = a_key(store).await;
    let link = link("first", key, alice);
    store.insert_service_link(&link).await.unwrap();
    assert!(matches!(store.insert_service_link(&link).await, Err(StoreError::Conflict(_))));

    let found = store.service_link(&link.id, NOW).await.unwrap().unwrap();
    assert_eq!((found.api_key, found.user, found.service.as_str()), (key, alice, "github"));
    assert_eq!((found.scope.as_str(), found.return_to.as_deref()), ("repo", Some("/account")));
    assert_eq!((found.callback, found.expires_at), (LinkCallback::Shared, later(900)));
    assert!(store.service_link(&link.id, later(900)).await.unwrap().is_none(), "it has expired");

    assert!(!store.use_service_link(&link.id, bob, NOW).await.unwrap());
    assert!(!store.use_service_link(&link.id, alice, later(900)).await.unwrap());
    let (shared, id) = (store.clone(), link.id);
    let won = winners(move |_| {
        let store = shared.clone();
        async move { store.use_service_link(&id, alice, NOW).await.unwrap() }
    });
    assert_eq!(won.await, 1);
    assert!(store.service_link(&link.id, NOW).await.unwrap().is_none());
}

pub(super) async fn a_link_goes_with_its_key_its_person_and_its_time(store: &Store) {
    let (alice, bob) = (known_user(store, "alice").await, known_user(store, "bob").await);
    let (key, other) = (a_key(store).await, a_key(store).await);
    let links = [link("by key", key, alice), link("by person", other, bob), link("by time", other, alice)];
    for link in &links {
        store.insert_service_link(link).await.unwrap();
    }
    let there = async |number: usize| store.service_link(&links[number].id, NOW).await.unwrap().is_some();
    assert!(store.delete_api_key(key).await.unwrap());
    assert!(!there(0).await && there(1).await && there(2).await);
    store.delete_user(bob, NOW).await.unwrap();
    assert!(!there(1).await && there(2).await);
    store.sweep(later(899), Duration::from_secs(60), Duration::from_secs(60)).await.unwrap();
    assert!(there(2).await);
    store.sweep(later(900), Duration::from_secs(60), Duration::from_secs(60)).await.unwrap();
    assert!(!there(2).await);
}

pub(super) async fn an_address_is_of_whoever_has_it_anywhere(store: &Store) {
    let (alice, bob) = (known_user(store, "alice").await, known_user(store, "bob").await);
    store.set_user_email(alice, Some("Alice@example.com")).await.unwrap();
    let holders = async |email: &str| {
        let found = store.users_with_email(email).await.unwrap();
        let mut names: Vec<_> = found.into_iter().map(|user| user.name).collect();
        names.sort();
        names
    };
    assert_eq!(holders("alice@EXAMPLE.com").await, ["alice"]);
    assert!(holders("").await.is_empty() && holders("bob@example.com").await.is_empty());
    let identity = LinkedIdentity { email: Some("bob@example.com".to_owned()), ..identity(bob, "1") };
    store.link_identity(&identity).await.unwrap();
    assert_eq!(holders("bob@example.com").await, ["bob"]);
    let claim = LinkedIdentity { subject: "2".to_owned(), email: Some("alice@example.com".to_owned()), ..identity };
    store.link_identity(&claim).await.unwrap();
    assert_eq!(holders("alice@example.com").await, ["alice", "bob"]);
}

async fn a_key(store: &Store) -> ApiKeyId {
    let id = ApiKeyId::random(&Random::default());
    let key = ApiKey {
        id,
        name: "broker".to_owned(),
        secret: Digest::of("secret"),
        scopes: "broker".to_owned(),
        resources: String::new(),
        services: String::new(),
        users: String::new(),
        created_at: NOW,
        expires_at: None,
        last_used_at: None,
    };
    store.insert_api_key(&key).await.unwrap();
    id
}

fn link(secret: &str, api_key: ApiKeyId, user: UserId) -> ServiceLink {
    ServiceLink {
        id: Digest::of(secret),
        api_key,
        user,
        service: "github".to_owned(),
        scope: "repo".to_owned(),
        callback: LinkCallback::Shared,
        return_to: Some("/account".to_owned()),
        expires_at: later(900),
    }
}
