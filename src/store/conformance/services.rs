//! Services: personal access tokens, and authorizations that are to be given back.

use super::*;

pub(super) async fn personal_access_tokens_are_replaced_and_go_with_their_person(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    let pat = |user, service: &str, sealed: &[u8]| ServicePat {
        user,
        service: service.to_owned(),
        sealed: sealed.to_vec(),
        created_at: NOW,
    };
    let all = [pat(ada, "google", b"1"), pat(ada, "asana", b"2"), pat(ada, "google", b"3"), pat(bob, "google", b"4")];
    for pat in &all {
        store.put_service_pat(pat).await.unwrap();
    }
    assert_eq!(store.service_pats(ada).await.unwrap(), [all[1].clone(), all[2].clone()]);
    assert_eq!(store.service_pat(ada, "google").await.unwrap().as_ref(), Some(&all[2]));
    assert_eq!(store.service_pat(bob, "asana").await.unwrap(), None);
    assert!(store.delete_service_pat(ada, "asana").await.unwrap());
    assert!(!store.delete_service_pat(ada, "asana").await.unwrap());
    store.delete_user(ada, NOW).await.unwrap();
    assert!(store.service_pats(ada).await.unwrap().is_empty());
    assert_eq!(store.service_pats(bob).await.unwrap(), [all[3].clone()]);
    assert!(store.put_service_pat(&all[0]).await.is_err(), "of somebody who is gone");
}

pub(super) async fn what_is_deleted_is_parted_from_once_at_a_time(store: &Store) {
    let ada = known_user(store, "ada").await;
    let works = connection(ada, "service:google", "");
    let ended = Connection { state: ConnectionState::NeedsConsent, ..connection(ada, "ended.example", "") };
    for one in [&works, &ended] {
        store.put_connection(one).await.unwrap();
        assert!(store.delete_connection(one.id).await.unwrap());
        assert!(!store.delete_connection(one.id).await.unwrap());
    }
    let taken = store.take_partings(NOW, later(30)).await.unwrap();
    let parting = Parting {
        id: works.id,
        user: ada,
        authority: works.authority,
        account: works.account,
        sealed: works.sealed,
        attempts: 1,
    };
    assert_eq!(taken, [parting], "one that does not work any more is not given back");
    assert!(store.take_partings(later(29), later(60)).await.unwrap().is_empty(), "somebody else is at it");
    assert_eq!(store.take_partings(later(30), later(60)).await.unwrap()[0].attempts, 2);
    store.delete_parting(works.id).await.unwrap();
    assert!(store.take_partings(later(3600), later(3600)).await.unwrap().is_empty());
}

pub(super) async fn a_removed_person_s_connections_are_parted_from(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    for (user, authority) in [(ada, "a.example"), (ada, "service:google"), (bob, "a.example")] {
        store.put_connection(&connection(user, authority, "")).await.unwrap();
    }
    store.delete_user(ada, NOW).await.unwrap();
    let taken = store.take_partings(NOW, NOW).await.unwrap();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|parting| parting.user == ada));
}
