//! Groups.

use super::*;

pub(super) async fn a_source_replaces_only_its_own(store: &Store) {
    let ada = known_user(store, "ada").await;
    let before = store.latest_change().await.unwrap();
    assert!(store.add_group(ada, "dev").await.unwrap());
    assert!(!store.add_group(ada, "dev").await.unwrap());
    assert!(store.set_groups(ada, "corp", &groups(&["dev", "ops", "ops"])).await.unwrap());
    assert!(!store.set_groups(ada, "corp", &groups(&["ops", "dev"])).await.unwrap());
    assert_eq!(store.groups_of(ada).await.unwrap(), ["dev", "ops"]);
    assert!(store.set_groups(ada, "corp", &groups(&["Ops"])).await.unwrap());
    assert_eq!(store.groups_of(ada).await.unwrap(), ["Ops", "dev"], "what the administrator said stays");
    assert!(!store.remove_group(ada, "Ops").await.unwrap(), "only a provider said so");
    assert!(store.remove_group(ada, "dev").await.unwrap());
    assert!(store.set_groups(ada, "corp", &[]).await.unwrap());
    assert!(store.groups_of(ada).await.unwrap().is_empty());
    assert_eq!(
        told(store, before).await,
        [Change::PeopleChanged; 5],
        "one for each change, none for what changed nothing"
    );
    let stranger = user("nobody").id;
    assert!(store.add_group(stranger, "dev").await.is_err());
}

pub(super) async fn members_are_found_by_group_and_go_with_the_person(store: &Store) {
    let (ada, bob) = (known_user(store, "ada").await, known_user(store, "bob").await);
    store.set_groups(ada, "corp", &groups(&["dev", "ops"])).await.unwrap();
    store.add_group(ada, "dev").await.unwrap();
    store.add_group(bob, "dev").await.unwrap();
    assert_eq!(store.groups().await.unwrap(), [("dev".to_owned(), 2), ("ops".to_owned(), 1)]);
    assert_eq!(store.memberships().await.unwrap().len(), 3);
    assert_eq!(store.members_of(&["ops", "none"]).await.unwrap(), [("ops".to_owned(), ada)]);
    assert_eq!(store.members_of(&["dev"]).await.unwrap().len(), 2);
    assert_eq!(store.members_of(&[]).await.unwrap(), []);
    assert!(!store.keep_group_sources(&["other", "corp"]).await.unwrap());
    assert!(store.keep_group_sources(&["other"]).await.unwrap());
    assert_eq!(store.groups_of(ada).await.unwrap(), ["dev"], "what the administrator said stays");
    assert!(!store.keep_group_sources(&[]).await.unwrap());
    store.delete_user(ada, NOW).await.unwrap();
    assert_eq!(store.groups().await.unwrap(), [("dev".to_owned(), 1)]);
}

pub(super) async fn permissions_are_replaced_and_taken_away(store: &Store) {
    let ada = known_user(store, "ada").await;
    let before = store.latest_change().await.unwrap();
    let first = UpstreamAccess { authority: "a.example".to_owned(), users: vec![ada], groups: groups(&["dev"]) };
    let nobody = UpstreamAccess { authority: "a.example".to_owned(), users: Vec::new(), groups: Vec::new() };
    for access in [&first, &nobody, &first] {
        store.put_upstream_access(access).await.unwrap();
        assert_eq!(store.upstream_access("a.example").await.unwrap().as_ref(), Some(access));
    }
    assert_eq!(store.restricted_upstreams().await.unwrap(), [first]);
    assert!(store.delete_upstream_access("a.example").await.unwrap());
    assert!(!store.delete_upstream_access("a.example").await.unwrap());
    assert_eq!(store.upstream_access("a.example").await.unwrap(), None);
    assert_eq!(told(store, before).await, [Change::UpstreamsChanged; 4]);
    assert_eq!(store.users_named(&["ADA", "bob"]).await.unwrap(), [("ada".to_owned(), ada)]);
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
