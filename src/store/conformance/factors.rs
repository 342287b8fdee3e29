//! Authenticator apps, recovery codes, passkeys.

use super::*;
use crate::ids::{Digest, PasskeyId, Random, UserId};

fn authenticator(user: UserId, sealed: &[u8]) -> Authenticator {
    let sealed = sealed.to_vec();
    Authenticator { user, sealed, browser: Digest::of("browser"), last_step: -1, created_at: NOW, confirmed_at: None }
}

fn passkey(user: UserId, credential_id: &[u8]) -> Passkey {
    Passkey {
        id: PasskeyId::random(&Random::default()),
        credential_id: credential_id.to_vec(),
        user,
        name: "Phone".to_owned(),
        public_key: b"key".to_vec(),
        sign_count: 0,
        created_at: NOW,
        last_used_at: None,
    }
}

pub(super) async fn an_authenticator_counts_when_it_is_confirmed(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (first, second) = (authenticator(ada, b"first"), authenticator(ada, b"second"));
    assert!(store.put_authenticator(&first).await.unwrap());
    assert!(store.put_authenticator(&second).await.unwrap());
    assert!(!store.use_step(ada, 9).await.unwrap());
    assert!(!store.confirm_authenticator(&first, 9, &[], NOW).await.unwrap(), "it was replaced");
    assert_eq!(store.authenticator(ada).await.unwrap().unwrap().sealed, b"second");
    assert!(store.confirm_authenticator(&second, 9, &[Digest::of("a"), Digest::of("b")], NOW).await.unwrap());
    assert!(!store.confirm_authenticator(&second, 10, &[], NOW).await.unwrap());
    assert!(!store.put_authenticator(&first).await.unwrap());
    let known = store.authenticator(ada).await.unwrap().unwrap();
    assert_eq!((known.last_step, known.confirmed_at, known.browser), (9, Some(NOW), Digest::of("browser")));
    assert_eq!(store.recovery_codes_left(ada).await.unwrap(), 2);
    assert!(store.delete_authenticator(ada).await.unwrap());
    assert!(!store.delete_authenticator(ada).await.unwrap());
}

pub(super) async fn a_step_and_a_code_are_used_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let waiting = authenticator(ada, b"x");
    store.put_authenticator(&waiting).await.unwrap();
    store.confirm_authenticator(&waiting, 9, &[Digest::of("a")], NOW).await.unwrap();
    assert!(!store.use_step(ada, 9).await.unwrap());
    let steps = winners(|_| {
        let store = store.clone();
        async move { store.use_step(ada, 10).await.unwrap() }
    });
    let codes = winners(|_| {
        let store = store.clone();
        async move { store.use_recovery_code(ada, &Digest::of("a")).await.unwrap() }
    });
    assert_eq!((steps.await, codes.await), (1, 1));
    store.put_recovery_codes(ada, &[Digest::of("b")]).await.unwrap();
    store.put_recovery_codes(ada, &[Digest::of("c")]).await.unwrap();
    assert!(!store.use_recovery_code(ada, &Digest::of("b")).await.unwrap());
}

pub(super) async fn passkeys_count_upwards(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let holder = store.make_passkey_holder(ada, &[1; 32]).await.unwrap();
    assert_eq!(store.make_passkey_holder(ada, &[2; 32]).await.unwrap(), holder);
    assert!(store.ask_for_passkey(ada, true).await.unwrap() && !store.ask_for_passkey(bob, true).await.unwrap());
    assert!(store.passkey_holder(ada).await.unwrap().unwrap().after_password);
    let phone = passkey(ada, b"phone");
    store.insert_passkey(&phone).await.unwrap();
    assert!(matches!(store.insert_passkey(&passkey(bob, b"phone")).await, Err(StoreError::Conflict(_))));
    // What does not count may stay at nothing; what has begun to count goes up.
    for (count, taken) in [(0, true), (0, true), (3, true), (3, false), (2, false), (0, false), (4, true)] {
        assert_eq!(store.use_passkey(phone.id, count, later(1)).await.unwrap(), taken, "{count}");
    }
    let known = store.passkey(b"phone").await.unwrap().unwrap();
    assert_eq!((known.id, known.sign_count, known.last_used_at), (phone.id, 4, Some(later(1))));
    assert!(!store.delete_passkey(bob, phone.id).await.unwrap());
    assert!(store.delete_passkey(ada, phone.id).await.unwrap());
    assert!(store.passkeys_of(ada).await.unwrap().is_empty());
}

pub(super) async fn a_reset_takes_everything_of_one_person(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    for user in [ada, bob] {
        store.put_authenticator(&authenticator(user, b"x")).await.unwrap();
        store.put_recovery_codes(user, &[Digest::of("a")]).await.unwrap();
        store.make_passkey_holder(user, &user.0.repeat(2).try_into().unwrap()).await.unwrap();
        store.insert_passkey(&passkey(user, &user.0)).await.unwrap();
        store.insert_session(&session(user, &user.to_string())).await.unwrap();
    }
    assert!(store.delete_factors(ada).await.unwrap());
    assert!(!store.delete_factors(ada).await.unwrap());
    assert!(store.authenticator(ada).await.unwrap().is_none() && store.passkeys_of(ada).await.unwrap().is_empty());
    assert_eq!(store.recovery_codes_left(ada).await.unwrap(), 0);
    assert!(
        store.passkey_holder(ada).await.unwrap().is_none() && store.sessions_of(ada, NOW).await.unwrap().is_empty()
    );
    assert!(store.authenticator(bob).await.unwrap().is_some() && store.passkey(&bob.0).await.unwrap().is_some());
    assert_eq!(store.sessions_of(bob, NOW).await.unwrap().len(), 1);
    store.delete_user(bob, NOW).await.unwrap();
    assert!(store.passkey(&bob.0).await.unwrap().is_none());
}
