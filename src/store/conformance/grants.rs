//! Grants, codes, refresh tokens.

use super::*;
use crate::ids::Digest;

pub(super) async fn a_grant_comes_with_its_code_or_not_at_all(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (first, second) = (grant(ada), Grant { created_at: later(1), ..grant(ada) });
    store.insert_grant(&first, Some(&code(first.id, "code"))).await.unwrap();
    let taken = store.insert_grant(&second, Some(&code(second.id, "code"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    assert!(store.grant(second.id).await.unwrap().is_none());
    store.insert_grant(&second, Some(&code(second.id, "other"))).await.unwrap();

    let found = store.grant(first.id).await.unwrap().unwrap();
    assert_eq!((found.user, found.client_id, found.client_name), (ada, first.client_id, first.client_name));
    assert_eq!((found.realm, found.resource, found.scope), (first.realm, first.resource, first.scope));
    assert_eq!((found.created_at, found.revoked_at), (NOW, None));
    let found = store.code(&Digest::of("code")).await.unwrap().unwrap();
    assert_eq!((found.grant, found.redirect_uri.as_str()), (first.id, "http://127.0.0.1/callback"));
    assert_eq!((found.code_challenge.as_str(), found.expires_at, found.used_at), ("challenge", later(60), None));
    let newest_first: Vec<_> = store.grants_of(ada).await.unwrap().into_iter().map(|grant| grant.id).collect();
    assert_eq!(newest_first, [second.id, first.id]);
}

pub(super) async fn a_code_is_consumed_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let granted = grant(ada);
    store.insert_grant(&granted, Some(&code(granted.id, "code"))).await.unwrap();
    let digest = Digest::of("code");
    assert!(!store.consume_code(&digest, later(60)).await.unwrap());
    let consumers = winners(|_| {
        let store = store.clone();
        async move { store.consume_code(&digest, later(59)).await.unwrap() }
    });
    assert_eq!(consumers.await, 1);
    assert_eq!(store.code(&digest).await.unwrap().unwrap().used_at, Some(later(59)));
    assert!(!store.consume_code(&Digest::of("unknown"), NOW).await.unwrap());
}

pub(super) async fn a_refresh_token_rotates_once(store: &Store) {
    let ada = known_user(store, "ada").await;
    let granted = known_grant(store, ada).await;
    store.insert_refresh_token(&refresh_token(granted, "old")).await.unwrap();
    let again = store.insert_refresh_token(&refresh_token(granted, "old")).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let old = Digest::of("old");
    let rotations = winners(|number| {
        let store = store.clone();
        async move {
            let text = format!("new {number}");
            let new = refresh_token(granted, &text);
            store.rotate_refresh_token(&old, &successor(&text, later(5)), &new).await.unwrap()
        }
    });
    assert_eq!(rotations.await, 1);

    let rotated = store.refresh_token(&old).await.unwrap().unwrap();
    assert_eq!(rotated.first_used_at, Some(later(5)));
    let successor = rotated.successor.unwrap();
    assert_eq!((Digest::of(&successor.sealed), successor.rotated_at), (successor.token, later(5)));
    let new = store.refresh_token(&successor.token).await.unwrap().unwrap();
    assert_eq!((new.grant, new.issued_at, new.expires_at), (granted, NOW, later(1000)));
    assert!(new.successor.is_none() && new.first_used_at.is_none());
    store.mark_refresh_token_used(&successor.token, later(6)).await.unwrap();
    store.mark_refresh_token_used(&successor.token, later(7)).await.unwrap();
    assert_eq!(store.refresh_token(&successor.token).await.unwrap().unwrap().first_used_at, Some(later(6)));
}

pub(super) async fn revocation_ends_tokens_and_is_told(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (granted, other) = (known_grant(store, ada).await, known_grant(store, ada).await);
    for (grant, text) in [(granted, "mine"), (other, "another's")] {
        store.insert_refresh_token(&refresh_token(grant, text)).await.unwrap();
    }
    let before = store.latest_change().await.unwrap();
    let revokers = winners(|_| {
        let store = store.clone();
        async move { store.revoke_grant(granted, later(9)).await.unwrap() }
    });
    assert_eq!(revokers.await, 1);

    assert_eq!(told(store, before).await, [Change::GrantRevoked(granted)]);
    assert_eq!(store.grant(granted).await.unwrap().unwrap().revoked_at, Some(later(9)));
    assert!(store.code(&Digest::of(granted.to_string())).await.unwrap().is_none());
    let mine = Digest::of("mine");
    assert!(store.refresh_token(&mine).await.unwrap().is_none());
    assert!(store.refresh_token(&Digest::of("another's")).await.unwrap().is_some());

    // Whoever was about to issue a token under the grant issues nothing that works.
    store.insert_refresh_token(&refresh_token(granted, "late")).await.unwrap();
    assert!(store.refresh_token(&Digest::of("late")).await.unwrap().is_none());
    let late = refresh_token(granted, "later");
    assert!(!store.rotate_refresh_token(&mine, &successor("later", NOW), &late).await.unwrap());
    assert_eq!(store.grants_revoked_since(later(9)).await.unwrap(), [granted]);
    assert_eq!(store.grants_revoked_since(later(10)).await.unwrap(), []);
}

pub(super) async fn revocation_reaches_clients_and_people(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let (first, second) = (known_grant(store, ada).await, known_grant(store, bob).await);
    let before = store.latest_change().await.unwrap();
    let elsewhere = Grant { realm: "other-enc".to_owned(), ..grant(bob) };
    store.insert_grant(&elsewhere, Some(&code(elsewhere.id, "elsewhere"))).await.unwrap();

    let mut ended = store.revoke_client(Some("label-enc"), "client", NOW).await.unwrap().unwrap();
    let mut expected = vec![first, second];
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(store.revoke_client(Some("label-enc"), "client", NOW).await.unwrap(), None);
    assert_eq!(store.revoke_grants_of_user(bob, NOW).await.unwrap(), [elsewhere.id]);
    assert!(store.grants_of(bob).await.unwrap().is_empty());
    assert_eq!(told(store, before).await.len(), 3);

    store.insert_client(&client("label-enc", "client")).await.unwrap();
    let again = known_grant(store, ada).await;
    let elsewhere = Grant { realm: "other-enc".to_owned(), ..grant(bob) };
    store.insert_grant(&elsewhere, Some(&code(elsewhere.id, "elsewhere again"))).await.unwrap();
    let mut ended = store.revoke_client(None, "client", NOW).await.unwrap().unwrap();
    let mut expected = vec![again, elsewhere.id];
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert!(store.client("label-enc", "client").await.unwrap().is_none());
    assert_eq!(told(store, before).await.len(), 5);
}

pub(super) async fn a_derived_grant_ends_with_its_parent(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let derived =
        |client: &str| Grant { client_id: client.to_owned(), client_name: "Service".to_owned(), ..grant(bob) };
    let (parent, other) = (known_grant(store, ada).await, known_grant(store, ada).await);
    // Of a client that is not, or no longer, registered there is none.
    assert_eq!(store.derive_grant(parent, &derived("service")).await.unwrap(), None);
    store.insert_client(&client("label-enc", "service")).await.unwrap();
    let (first, again, elsewhere) = (derived("service"), derived("service"), derived("service"));
    assert_eq!(store.derive_grant(parent, &first).await.unwrap(), Some(first.id));
    assert_eq!(store.derive_grant(parent, &again).await.unwrap(), Some(first.id));
    assert_eq!(store.derive_grant(other, &elsewhere).await.unwrap(), Some(elsewhere.id));
    let found = store.grant(first.id).await.unwrap().unwrap();
    // Whose it is follows from the parent.
    assert_eq!((found.user, found.client_id.as_str(), found.client_name.as_str()), (ada, "service", "Service"));
    assert_eq!(store.derived_grants(parent).await.unwrap(), [first.id]);
    // What a client has by its own right is never under somebody's consent.
    let own = Grant { user: ada, ..derived("service") };
    assert_eq!(store.standing_grant(&own, 1).await.unwrap(), Some(own.id));

    // It can end by itself, and be derived anew.
    assert!(store.revoke_grant(first.id, NOW).await.unwrap());
    assert!(store.grant(parent).await.unwrap().unwrap().revoked_at.is_none());
    assert_eq!(store.derive_grant(parent, &again).await.unwrap(), Some(again.id));
    let before = store.latest_change().await.unwrap();
    assert!(store.revoke_grant(parent, later(1)).await.unwrap());
    assert_eq!(told(store, before).await, [Change::GrantRevoked(parent), Change::GrantRevoked(again.id)]);
    assert_eq!(store.grant(again.id).await.unwrap().unwrap().revoked_at, Some(later(1)));
    assert_eq!(store.derive_grant(parent, &derived("service")).await.unwrap(), None);

    // With the client of the parent, and with its own.
    let ended = store.revoke_client(None, "client", NOW).await.unwrap().unwrap();
    assert_eq!(ended, [other, elsewhere.id]);
    let (parent, last) = (known_grant(store, ada).await, derived("service"));
    store.derive_grant(parent, &last).await.unwrap();
    assert!(store.revoke_client(None, "service", NOW).await.unwrap().unwrap().contains(&last.id));
    assert!(store.grant(parent).await.unwrap().unwrap().revoked_at.is_none());
}
