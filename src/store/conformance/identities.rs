//! Identities at providers.

use super::*;

pub(super) async fn an_identity_is_one_person_s(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    store.link_identity(&identity(ada, "1")).await.unwrap();
    assert!(matches!(store.link_identity(&identity(bob, "1")).await, Err(StoreError::Conflict(_))));
    let elsewhere = LinkedIdentity { issuer: "https://id.example/".to_owned(), ..identity(bob, "1") };
    store.link_identity(&elsewhere).await.unwrap();
    assert_eq!(store.identity("https://id.example", "1").await.unwrap(), Some(identity(ada, "1")));
    assert_eq!(store.identity("https://id.example", "2").await.unwrap(), None);
    assert_eq!(store.identities_of(bob).await.unwrap(), [elsewhere]);
    let linkers = winners(|number| {
        let (store, person) = (store.clone(), if number % 2 == 0 { ada } else { bob });
        async move { store.link_identity(&identity(person, "raced")).await.is_ok() }
    });
    assert_eq!(linkers.await, 1);
    store.delete_user(ada, NOW).await.unwrap();
    assert_eq!(store.identity("https://id.example", "1").await.unwrap(), None);
}

pub(super) async fn a_person_comes_with_an_identity_or_not_at_all(store: &Store) {
    let ada = known_user(store, "ada").await;
    let newcomer = User { password_hash: None, ..user("newcomer") };
    store.create_user_with_identity(&newcomer, &identity(newcomer.id, "1")).await.unwrap();
    assert_eq!(store.identities_of(newcomer.id).await.unwrap().len(), 1);
    let taken = user("ADA");
    let refused = store.create_user_with_identity(&taken, &identity(taken.id, "2")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    assert_eq!(store.identity("https://id.example", "2").await.unwrap(), None);
    let second = user("second");
    let refused = store.create_user_with_identity(&second, &identity(second.id, "1")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    assert!(store.user_by_name("second").await.unwrap().is_none());
    assert!(store.user(ada).await.unwrap().is_some());
}

pub(super) async fn an_email_address_follows_its_identity(store: &Store) {
    let ada = known_user(store, "ada").await;
    let email_of = async || store.user(ada).await.unwrap().unwrap().email;
    let with = |subject: &str, email: Option<&str>| LinkedIdentity {
        email: email.map(str::to_owned),
        last_used_at: later(1),
        ..identity(ada, subject)
    };
    store.link_identity(&identity(ada, "work")).await.unwrap();
    store.link_identity(&identity(ada, "home")).await.unwrap();
    assert!(store.use_identity(&with("work", Some("ada@work.example"))).await.unwrap());
    assert_eq!(email_of().await.as_deref(), Some("ada@work.example"));
    assert!(store.use_identity(&with("home", Some("ada@home.example"))).await.unwrap());
    assert_eq!(email_of().await.as_deref(), Some("ada@work.example"), "the first one stays");
    let moved = with("work", Some("lovelace@work.example"));
    assert!(store.use_identity(&moved).await.unwrap());
    assert_eq!(email_of().await, moved.email);
    assert_eq!(store.identity("https://id.example", "work").await.unwrap(), Some(moved));
    assert!(store.use_identity(&with("work", None)).await.unwrap());
    assert_eq!(email_of().await, None, "what is not verified any longer is not kept");
    assert!(!store.use_identity(&with("nobody", Some("x@work.example"))).await.unwrap());
    assert_eq!(email_of().await, None);
}

pub(super) async fn the_last_way_in_stays(store: &Store) {
    let ada = known_user(store, "ada").await;
    for subject in ["1", "2"] {
        store.link_identity(&identity(ada, subject)).await.unwrap();
    }
    let unlink = async |subject: &str| {
        let key = ("https://id.example", subject);
        store.unlink_identity(ada, key, |_, remaining| !remaining.is_empty()).await.unwrap()
    };
    assert_eq!(unlink("3").await, Unlinked::Unknown);
    assert_eq!(unlink("1").await, Unlinked::Done);
    assert_eq!(unlink("1").await, Unlinked::Unknown);
    assert_eq!(unlink("2").await, Unlinked::LastWayIn);
    assert_eq!(store.identities_of(ada).await.unwrap().len(), 1);
    let bob = known_user(store, "bob").await;
    let other = store.unlink_identity(bob, ("https://id.example", "2"), |_, _| true).await.unwrap();
    assert_eq!(other, Unlinked::Unknown, "one's own only");
    let with_password =
        store.unlink_identity(ada, ("https://id.example", "2"), |user, _| user.password_hash.is_some()).await.unwrap();
    assert_eq!(with_password, Unlinked::Done);
}
