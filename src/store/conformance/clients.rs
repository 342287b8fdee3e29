//! Clients that register, and what works once.

use super::*;
use crate::ids::{Digest, GrantId, Random};

pub(super) async fn unused_clients_give_way_to_new_ones(store: &Store) {
    let at = |seconds: u64, id: &str| Client { created_at: later(seconds), ..client("realm", id) };
    let owner = known_user(store, "ada").await;
    store.insert_client(&Client { owner: Some(owner), ..client("realm", "machine") }).await.unwrap();
    store.insert_client(&client("realm", "used")).await.unwrap();
    store.touch_client("realm", "used", NOW).await.unwrap();
    let ask = async |seconds: u64, id: &str, most: u32, gives_way_before: Timestamp| {
        store.register_client(&at(seconds, id), RoomForClients { most, gives_way_before }).await.unwrap()
    };
    let everybody_is_young = NOW;
    assert_eq!(ask(0, "a", 2, everybody_is_young).await, Registered::Kept);
    assert_eq!(ask(1, "b", 2, everybody_is_young).await, Registered::Kept);
    assert_eq!(ask(2, "c", 2, everybody_is_young).await, Registered::NoRoom(NOW));
    assert_eq!(ask(2, "c", 2, later(1)).await, Registered::Kept);
    let ids = async || store.clients().await.unwrap().into_iter().map(|client| client.id).collect::<Vec<_>>();
    assert_eq!(ids().await, ["machine", "used", "b", "c"]);
    // A lowered limit is reached with the next registration.
    assert_eq!(ask(3, "d", 1, later(10)).await, Registered::Kept);
    assert_eq!(ids().await, ["machine", "used", "d"]);
    assert!(matches!(
        store.register_client(&at(4, "used"), RoomForClients { most: 9, gives_way_before: NOW }).await,
        Err(StoreError::Conflict(_))
    ));
}

pub(super) async fn a_flood_of_registrations_stays_within_its_room(store: &Store) {
    let room = RoomForClients { most: 100, gives_way_before: later(10_000) };
    for number in 0..2000 {
        let flood = Client { created_at: later(number), ..client("realm", &number.to_string()) };
        assert_eq!(store.register_client(&flood, room).await.unwrap(), Registered::Kept);
    }
    let left = store.clients().await.unwrap();
    assert_eq!((left.len(), left[0].id.as_str()), (100, "1900"));
}

pub(super) async fn a_client_is_replaced_and_expires(store: &Store) {
    let old = Client { secret: Some(Digest::of("secret")), expires_at: Some(later(5)), ..client("realm", "one") };
    store.insert_client(&old).await.unwrap();
    store.insert_client(&client("realm", "for ever")).await.unwrap();
    let expired = async |at| store.expired_clients(at).await.unwrap();
    assert_eq!(expired(later(4)).await, []);
    assert_eq!(expired(later(5)).await, [("realm".to_owned(), "one".to_owned())]);
    let new = Client { metadata: "{\"a\":1}".to_owned(), secret: None, expires_at: Some(later(9)), ..old };
    assert!(store.update_client(&new).await.unwrap());
    let found = store.client("realm", "one").await.unwrap().unwrap();
    assert_eq!((found.metadata, found.secret, found.expires_at), (new.metadata.clone(), None, Some(later(9))));
    assert_eq!((found.registration_token, expired(later(5)).await.len()), (new.registration_token, 0));
    assert!(!store.update_client(&Client { realm: "other".to_owned(), ..new }).await.unwrap());
}

pub(super) async fn who_asks_again_stands_under_the_same_grant(store: &Store) {
    let ada = known_user(store, "ada").await;
    let of = |resource: &str| Grant {
        id: GrantId::random(&Random::default()),
        realm: "realm".to_owned(),
        client_id: "machine".to_owned(),
        resource: resource.to_owned(),
        ..grant(ada)
    };
    let first = of("a");
    assert_eq!(store.standing_grant(&first, 2).await.unwrap(), None, "the client is not there");
    store.insert_client(&Client { owner: Some(ada), ..client("realm", "machine") }).await.unwrap();
    assert_eq!(store.standing_grant(&first, 2).await.unwrap(), Some(first.id));
    assert_eq!(store.standing_grant(&of("a"), 2).await.unwrap(), Some(first.id));
    let second = of("b");
    assert_eq!(store.standing_grant(&second, 2).await.unwrap(), Some(second.id));
    assert_eq!(store.standing_grant(&of("c"), 2).await.unwrap(), None);
    store.revoke_grant(first.id, NOW).await.unwrap();
    let again = of("a");
    assert_eq!(store.standing_grant(&again, 2).await.unwrap(), Some(again.id));
}
