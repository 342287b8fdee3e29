//! Clients, flows, signing keys.

use super::*;
use crate::ids::Digest;
use crate::jose::SigningAlgorithm;

pub(super) async fn clients_belong_to_a_realm(store: &Store) {
    let confidential = Client { secret: Some(Digest::of("secret")), ..client("a-enc", "one") };
    store.insert_client(&confidential).await.unwrap();
    store.insert_client(&client("b-enc", "one")).await.unwrap();
    assert!(matches!(store.insert_client(&client("a-enc", "one")).await, Err(StoreError::Conflict(_))));
    let found = store.client("a-enc", "one").await.unwrap().unwrap();
    assert_eq!((found.secret, found.registration_token), (confidential.secret, confidential.registration_token));
    assert_eq!((found.metadata.as_str(), found.last_used_at), ("{}", None));
    assert!(store.client("c-enc", "one").await.unwrap().is_none());
    store.touch_client("a-enc", "one", later(5)).await.unwrap();
    let used: Vec<_> = store.clients().await.unwrap().into_iter().map(|client| client.last_used_at).collect();
    assert_eq!(used, [Some(later(5)), None]);
    assert_eq!(store.revoke_client(Some("a-enc"), "one", NOW).await.unwrap(), Some(Vec::new()));
    assert_eq!(store.revoke_client(Some("a-enc"), "one", NOW).await.unwrap(), None);
    assert!(store.client("b-enc", "one").await.unwrap().is_some());
}

pub(super) async fn documents_are_replaced(store: &Store) {
    for body in ["old", "new"] {
        let url = "https://client.example/metadata.json".to_owned();
        let document = ClientDocument { url, body: body.to_owned(), fetched_at: NOW, fresh_until: later(60) };
        store.put_client_document(&document).await.unwrap();
    }
    let found = store.client_document("https://client.example/metadata.json").await.unwrap().unwrap();
    assert_eq!((found.body.as_str(), found.fetched_at, found.fresh_until), ("new", NOW, later(60)));
    assert!(store.client_document("https://client.example/").await.unwrap().is_none());
}

pub(super) async fn a_flow_is_taken_once(store: &Store) {
    let id = Digest::of("flow");
    store.insert_flow(&flow("flow")).await.unwrap();
    assert!(matches!(store.insert_flow(&flow("flow")).await, Err(StoreError::Conflict(_))));
    store.update_flow(&id, "{\"step\":2}").await.unwrap();
    let found = store.flow(&id, NOW).await.unwrap().unwrap();
    assert_eq!((found.data.as_str(), found.session), ("{\"step\":2}", Digest::of("session")));
    assert!(store.flow(&id, later(600)).await.unwrap().is_none());
    assert!(store.take_flow(&id, later(600)).await.unwrap().is_none());
    let takers = winners(|_| {
        let store = store.clone();
        async move { store.take_flow(&id, NOW).await.unwrap().is_some() }
    });
    assert_eq!(takers.await, 1);
    assert!(store.flow(&id, NOW).await.unwrap().is_none());
}

pub(super) async fn signing_keys_stand_in_line(store: &Store) {
    let key = |kid: &str, active_from| SigningKey {
        kid: kid.to_owned(),
        algorithm: SigningAlgorithm::Es256,
        sealed: vec![1, 2, 3],
        created_at: NOW,
        active_from,
        token_ttl: 60,
    };
    assert!(!store.append_signing_key(&key("first", NOW), Some("another")).await.unwrap());
    assert!(store.append_signing_key(&key("first", NOW), None).await.unwrap());
    assert!(!store.append_signing_key(&key("second", later(2)), None).await.unwrap());
    let writers = winners(|number| {
        let (store, key) = (store.clone(), key(&format!("second {number}"), later(2)));
        async move { store.append_signing_key(&key, Some("first")).await.unwrap() }
    });
    assert_eq!(writers.await, 1);
    let keys = store.signing_keys().await.unwrap();
    assert_eq!((keys.len(), keys[0].kid.as_str(), &keys[0].sealed), (2, "first", &vec![1, 2, 3]));
    let same = store.append_signing_key(&key("first", later(3)), Some(&keys[1].kid)).await;
    assert!(matches!(same, Err(StoreError::Conflict(_))));
    assert_eq!(told(store, 0).await, [Change::KeysChanged; 2]);

    for (ttl, expected) in [(30, 60), (60, 60), (90, 90), (61, 90)] {
        store.extend_signing_key("first", Duration::from_secs(ttl)).await.unwrap();
        assert_eq!(store.signing_keys().await.unwrap()[0].token_ttl, expected);
    }
    assert_eq!(told(store, 2).await, [Change::KeysChanged]);
    store.delete_signing_key("first").await.unwrap();
    store.delete_signing_key("first").await.unwrap();
    assert_eq!(told(store, 3).await, [Change::KeysChanged]);
    store.replace_signing_keys(&key("third", later(1))).await.unwrap();
    let kids: Vec<_> = store.signing_keys().await.unwrap().into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, ["third"]);
    assert_eq!(told(store, 4).await, [Change::KeysChanged]);
}
