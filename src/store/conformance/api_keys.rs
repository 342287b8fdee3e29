//! API keys.

use super::*;
use crate::ids::{ApiKeyId, Digest, Random};

pub(super) async fn an_api_key_is_kept_touched_and_deleted(store: &Store) {
    let key = api_key("first", None);
    let other = ApiKey { created_at: later(1), ..api_key("second", Some(later(90))) };
    store.insert_api_key(&key).await.unwrap();
    store.insert_api_key(&other).await.unwrap();
    assert!(matches!(store.insert_api_key(&key).await, Err(StoreError::Conflict(_))));

    let found = store.api_key(key.id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.secret, found.scopes.as_str()), ("first", key.secret, "introspect broker"));
    assert_eq!((found.resources, found.services, found.users), (key.resources, key.services, key.users));
    assert_eq!((found.created_at, found.expires_at, found.last_used_at), (NOW, None, None));
    let names: Vec<_> = store.api_keys().await.unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["first", "second"]);

    store.touch_api_key(other.id, later(5)).await.unwrap();
    let touched = store.api_key(other.id).await.unwrap().unwrap();
    assert_eq!((touched.expires_at, touched.last_used_at), (Some(later(90)), Some(later(5))));
    assert!(store.delete_api_key(key.id).await.unwrap());
    assert!(!store.delete_api_key(key.id).await.unwrap());
    assert!(store.api_key(key.id).await.unwrap().is_none());
}

fn api_key(name: &str, expires_at: Option<Timestamp>) -> ApiKey {
    ApiKey {
        id: ApiKeyId::random(&Random::default()),
        name: name.to_owned(),
        secret: Digest::of(name),
        scopes: "introspect broker".to_owned(),
        resources: "https://notes.gw.example/mcp".to_owned(),
        services: "github".to_owned(),
        users: String::new(),
        created_at: NOW,
        expires_at,
        last_used_at: None,
    }
}
