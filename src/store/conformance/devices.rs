//! Devices that wait for a person, and consents that are remembered.

use super::*;
use crate::ids::{Digest, UserId};

pub(super) async fn a_device_is_one_persons_from_the_first_claim(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let (code, user_code) = known_device(store, "device").await;
    assert!(matches!(store.insert_device_code(&device("device")).await, Err(StoreError::Conflict(_))));
    assert!(store.claim_device_code(&Digest::of("unknown"), ada, NOW).await.unwrap().is_none());
    assert!(store.claim_device_code(&user_code, ada, later(900)).await.unwrap().is_none(), "expired");
    let claims = winners(|number| {
        let (store, who) = (store.clone(), if number % 2 == 0 { ada } else { bob });
        async move { store.claim_device_code(&user_code, who, NOW).await.unwrap().is_some() }
    });
    assert_eq!(claims.await, 50, "all of one, none of the other");
    let owner = store.device_code(&code).await.unwrap().unwrap().claimed_by.unwrap();
    let other = if owner == ada { bob } else { ada };
    assert!(!store.approve_device_code(&code, &grant(other), NOW).await.unwrap());
    assert!(!store.deny_device_code(&code, other).await.unwrap());
    assert!(store.grants_of(other).await.unwrap().is_empty(), "no grant without its device");
    assert!(!store.approve_device_code(&code, &grant(owner), later(900)).await.unwrap());
    assert!(store.approve_device_code(&code, &grant(owner), NOW).await.unwrap());
    assert!(!store.approve_device_code(&code, &grant(owner), NOW).await.unwrap());
    assert!(!store.deny_device_code(&code, owner).await.unwrap());
    assert!(store.claim_device_code(&user_code, owner, NOW).await.unwrap().is_none());
    assert_eq!(store.grants_of(owner).await.unwrap().len(), 1);
}

pub(super) async fn a_device_gets_its_tokens_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (code, user_code) = known_device(store, "device").await;
    assert!(!store.redeem_device_code(&code, NOW).await.unwrap());
    store.claim_device_code(&user_code, ada, NOW).await.unwrap();
    let granted = grant(ada);
    assert!(store.approve_device_code(&code, &granted, NOW).await.unwrap());
    assert!(!store.redeem_device_code(&code, later(900)).await.unwrap());
    let redeemed = winners(|_| {
        let store = store.clone();
        async move { store.redeem_device_code(&code, NOW).await.unwrap() }
    });
    assert_eq!(redeemed.await, 1);
    assert_eq!(store.device_code(&code).await.unwrap().unwrap().state, DeviceState::Used);
    store.revoke_grant(granted.id, NOW).await.unwrap();
    assert!(store.device_code(&code).await.unwrap().is_none());
}

pub(super) async fn b45_a_hasty_device_has_to_wait_longer_each_time(store: &Store) {
    let (code, _) = known_device(store, "device").await;
    let interval = async || store.device_code(&code).await.unwrap().unwrap().interval;
    assert!(store.poll_device_code(&code, later(10)).await.unwrap(), "the first question is never early");
    assert!(store.poll_device_code(&code, later(15)).await.unwrap());
    assert_eq!(interval().await, 5);
    assert!(!store.poll_device_code(&code, later(16)).await.unwrap());
    assert_eq!(interval().await, 10);
    assert!(!store.poll_device_code(&code, later(22)).await.unwrap());
    assert_eq!(interval().await, 15);
    assert!(store.poll_device_code(&code, later(37)).await.unwrap());
    assert_eq!(interval().await, 15);
}

pub(super) async fn wrong_user_codes_are_counted_in_a_window(store: &Store) {
    let (ada, window) = (known_user(store, "ada").await, Duration::from_secs(100));
    let wrong = async |at| store.wrong_user_codes(ada, at, window).await.unwrap();
    for at in [0, 50] {
        store.count_wrong_user_code(ada, later(at), window).await.unwrap();
    }
    assert_eq!((wrong(later(99)).await, wrong(later(100)).await), (2, 0));
    store.count_wrong_user_code(ada, later(100), window).await.unwrap();
    assert_eq!(wrong(later(101)).await, 1);
}

pub(super) async fn a_remembered_consent_ends_with_any_grant_of_its_client(store: &Store) {
    let ada = known_user(store, "ada").await;
    let granted = known_grant(store, ada).await;
    let remembered = async |at| store.remembered_consents(ada, ("label-enc", "client"), at).await.unwrap();
    store.remember_consent(&consent(ada)).await.unwrap();
    store.remember_consent(&RememberedConsent { scope: "read".to_owned(), ..consent(ada) }).await.unwrap();
    store.remember_consent(&RememberedConsent { client_id: "other".to_owned(), ..consent(ada) }).await.unwrap();
    assert_eq!(remembered(NOW).await, [RememberedConsent { scope: "read".to_owned(), ..consent(ada) }]);
    assert!(remembered(later(100)).await.is_empty());
    store.prolong_consent(&consent(ada), later(500)).await.unwrap();
    assert_eq!(remembered(later(100)).await.len(), 1);
    store.revoke_grant(granted, NOW).await.unwrap();
    assert!(remembered(NOW).await.is_empty());
    assert_eq!(store.remembered_consents(ada, ("label-enc", "other"), NOW).await.unwrap().len(), 1);
    store.revoke_client(Some("label-enc"), "other", NOW).await.unwrap();
    assert!(store.remembered_consents(ada, ("label-enc", "other"), NOW).await.unwrap().is_empty());
}

fn device(text: &str) -> DeviceCode {
    DeviceCode {
        code: Digest::of(text),
        user_code: Digest::of(format!("user {text}")),
        realm: "label-enc".to_owned(),
        client_id: "client".to_owned(),
        resource: "https://label-enc.gw.example/mcp".to_owned(),
        scope: "read".to_owned(),
        expires_at: later(900),
        interval: 5,
        polled_at: None,
        claimed_by: None,
        state: DeviceState::Waiting,
        grant: None,
    }
}

/// A device that is in the store; the digests of its two codes.
async fn known_device(store: &Store, text: &str) -> (Digest, Digest) {
    let device = device(text);
    store.insert_device_code(&device).await.unwrap();
    (device.code, device.user_code)
}

fn consent(user: UserId) -> RememberedConsent {
    RememberedConsent {
        user,
        realm: "label-enc".to_owned(),
        client_id: "client".to_owned(),
        resource: "https://label-enc.gw.example/mcp".to_owned(),
        redirect_host: "app.example".to_owned(),
        scope: "read write".to_owned(),
        expires_at: later(100),
    }
}
