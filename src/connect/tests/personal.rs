//! What people give by hand, in place of a sign-in.

use super::*;
use crate::config::{Command, Kind, PersonalHeader, Sharing};
use crate::store::Change;

/// Never in an error.
const CANARY: &str = "sk-canary-2f7c";

/// An upstream that wants a header of every person.
async fn world() -> World {
    World::beside(Stranger::start().await, header("x-api-key", "")).await
}

fn header(name: &'static str, prefix: &str) -> UpstreamAuth {
    UpstreamAuth::Personal(PersonalHeader { name: http::HeaderName::from_static(name), prefix: prefix.to_owned() })
}

/// A program that wants two secrets of every person, or as many as there are names.
fn program(names: &[&str]) -> UpstreamConfig {
    let command = Command {
        program: "true".into(),
        args: Vec::new(),
        search_path: String::new(),
        env: Vec::new(),
        secrets: Vec::new(),
        personal_env: names.iter().map(|name| (*name).to_owned()).collect(),
        cwd: None,
        processes: Sharing::Person,
        idle: None,
        memory: None,
    };
    UpstreamConfig {
        authority: Authority::of_program("time").unwrap(),
        name: None,
        alias: Some("time".to_owned()),
        kind: Kind::Stdio(Arc::new(command)),
        path: None,
        auth: UpstreamAuth::None,
        allow_private: None,
        tools: None,
        allowed: None,
    }
}

impl World {
    async fn reconfigure(&self, configured: UpstreamConfig) {
        let policy = Upstreams { unknown: Unknown::Ask, allow_private: true, ca_file: None, max_requests: 1024 };
        self.registry.reconfigure(&policy, vec![configured]).await.unwrap();
        self.connections.forget_all();
    }

    /// As `Revocations` does.
    async fn give(&self, given: &[(&str, &str)]) -> Result<(), Fault> {
        let secrets: Vec<_> = given.iter().map(|(name, value)| (*name, Secret::new((*value).to_owned()))).collect();
        let given: Vec<_> = secrets.iter().map(|(name, value)| (*name, value)).collect();
        let upstream = self.registry.by_authority(self.authority()).unwrap();
        let row = self.connections.personal_credentials().with(&self.key, &upstream, &given).await?;
        if let Some(ended) = self.store.replace_connection(&row).await? {
            self.connections.cut_off(ended);
        }
        Ok(())
    }

    async fn missing(&self) -> bool {
        let needed = self.connections.needs_consent(&self.key).await.unwrap();
        let credential = self.credential().await;
        assert_eq!(matches!(credential, Err(NoCredential::NeedsConsent)), needed);
        assert_eq!(matches!(self.begin().await.unwrap(), Begin::Redirect(_)), needed);
        needed
    }

    async fn environment(&self) -> Option<Vec<(String, String)>> {
        match self.connections.personal_env(&self.key).await {
            Ok(all) => Some(all.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect()),
            Err(NoCredential::NeedsConsent) => None,
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn injected(credential: &Credential) -> (&str, &str) {
    let (name, value) = credential.header().unwrap();
    assert!(value.is_sensitive());
    (name.as_str(), value.to_str().unwrap())
}

#[tokio::test]
async fn a_key_is_asked_for_and_injected_until_it_changes() {
    let world = world().await;
    assert!(world.missing().await);
    let Begin::Redirect(address) = world.begin().await.unwrap() else { panic!("there is nothing yet") };
    let expected = format!("server={}&return_to=%2Fgo%2Fon", world.authority().as_str().replace(':', "%3A"));
    assert_eq!(address, format!("{PERSONAL_PAGE}?{expected}"));
    world.give(&[("X-Api-Key", " first ")]).await.unwrap();
    assert!(!world.missing().await);
    let first = world.credential().await.unwrap();
    assert_eq!(injected(&first), ("x-api-key", "first"));
    assert!(Arc::ptr_eq(&first, &world.connections.cached(&world.key).unwrap()), "the next request asks no database");
    assert!(matches!(world.begin_with("", true).await.unwrap(), Begin::Redirect(_)), "to change it");
    world.give(&[("x-api-key", "second")]).await.unwrap();
    assert!(first.life().has_ended(), "what is open with the first key ends");
    let second = world.credential().await.unwrap();
    assert_eq!(injected(&second), ("x-api-key", "second"));
    assert!(!second.life().has_ended());
    assert!(world.stranger.lines().is_empty(), "nobody was contacted");
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_asked_for_again() {
    let world = world().await;
    world.give(&[("x-api-key", CANARY)]).await.unwrap();
    let rejected = world.credential().await.unwrap();
    let renewed = world.connections.renew(&world.key, &rejected, Some("Bearer scope=\"more\"")).await;
    assert!(matches!(renewed, Err(NoCredential::NeedsConsent)));
    assert!(rejected.life().has_ended());
    assert!(world.missing().await);
    let row = world.row().await;
    assert_eq!(row.state, ConnectionState::NeedsConsent);
    assert!(!row.last_error.unwrap().contains(CANARY));
    world.give(&[("x-api-key", "right")]).await.unwrap();
    assert_eq!(injected(&world.credential().await.unwrap()).1, "right");
    assert!(world.row().await.last_error.is_none());
}

#[tokio::test]
async fn another_node_follows_the_journal() {
    let mut world = world().await;
    world.give(&[("x-api-key", "first")]).await.unwrap();
    let here = world.connections.clone();
    world.restart();
    let there = world.connections.clone();
    let (old, mut news) = (here.credential(&world.key).await.unwrap(), here.news());
    let after = world.store.latest_change().await.unwrap();
    world.give(&[("x-api-key", "second")]).await.unwrap();
    for (_, change) in world.store.changes_after(after).await.unwrap() {
        let Some(Change::ConnectionChanged(id)) = change else { panic!("{change:?}") };
        here.catch_up(id).await.unwrap();
    }
    assert!(old.life().has_ended());
    assert_eq!(news.try_recv().unwrap(), world.key.user);
    for node in [here, there] {
        assert_eq!(injected(&node.credential(&world.key).await.unwrap()).1, "second");
    }
}

#[tokio::test]
async fn programs_get_all_their_secrets_or_none() {
    let mut world = World::beside(Stranger::start().await, UpstreamAuth::None).await;
    world.key = ConnectionKey::upstream(world.key.user, Authority::of_program("time").unwrap(), None);
    world.reconfigure(program(&[])).await;
    assert!(!world.missing().await);
    assert_eq!(world.environment().await, Some(Vec::new()), "nothing is wanted");
    world.reconfigure(program(&["B", "A"])).await;
    assert!(world.missing().await && world.environment().await.is_none());
    world.give(&[("A", "1")]).await.unwrap();
    assert!(world.missing().await && world.environment().await.is_none());
    world.give(&[("B", "two\nlines")]).await.unwrap();
    assert!(!world.missing().await);
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        world.environment().await.unwrap(),
        [text("B", "two\nlines"), text("A", "1")],
        "in the order of the names"
    );
    let credential = world.credential().await.unwrap();
    assert!(credential.header().is_none() && credential.connection().is_some());
    world.give(&[("A", "3")]).await.unwrap();
    assert!(credential.life().has_ended(), "the process with the old secret ends");
    assert_eq!(world.environment().await.unwrap(), [text("B", "two\nlines"), text("A", "3")]);
    // The configuration wants more, then less.
    world.reconfigure(program(&["A", "B", "C"])).await;
    assert!(world.missing().await && world.environment().await.is_none());
    world.reconfigure(program(&["A"])).await;
    assert_eq!(world.environment().await.unwrap(), [text("A", "3")]);
}

#[tokio::test]
async fn single_values_can_be_taken_away() {
    let mut world = World::beside(Stranger::start().await, UpstreamAuth::None).await;
    world.key = ConnectionKey::upstream(world.key.user, Authority::of_program("time").unwrap(), None);
    world.reconfigure(program(&["A", "B"])).await;
    world.give(&[("A", "1"), ("B", "2")]).await.unwrap();
    let given = world.connections.personal_credentials();
    assert!(matches!(given.without(&world.key, Some("C")).await.unwrap(), Remainder::Unknown));
    let Remainder::Others(row) = given.without(&world.key, Some("A")).await.unwrap() else { panic!("B is left") };
    assert_eq!(row.personal.as_deref(), Some("B"));
    world.store.replace_connection(&row).await.unwrap();
    let Remainder::Nothing(id) = given.without(&world.key, Some("B")).await.unwrap() else { panic!("none is left") };
    assert_eq!(id, row.id);
    assert!(matches!(given.without(&world.key, None).await.unwrap(), Remainder::Nothing(_)));
    assert!(world.store.delete_connection(id).await.unwrap());
    assert!(matches!(given.without(&world.key, None).await.unwrap(), Remainder::Unknown));
}

#[tokio::test]
async fn tokens_and_keys_do_not_stand_in_for_each_other() {
    let world = World::new().await;
    world.connect().await;
    assert!(world.credential().await.is_ok());
    let upstream = |auth| UpstreamConfig {
        authority: world.authority().clone(),
        kind: Kind::default(),
        alias: None,
        auth,
        ..program(&[])
    };
    world.reconfigure(upstream(header("authorization", "Bearer "))).await;
    assert!(world.missing().await, "tokens are no key");
    world.give(&[("", "a key")]).await.unwrap();
    assert_eq!(injected(&world.credential().await.unwrap()), ("authorization", "Bearer a key"));
    world.reconfigure(upstream(header("x-api-key", ""))).await;
    assert!(world.missing().await, "the key of one header is not sent in another");
    world.reconfigure(upstream(UpstreamAuth::OAuth(Box::default()))).await;
    assert!(matches!(world.credential().await, Err(NoCredential::NeedsConsent)), "a key is no token");
    world.connect().await;
    assert_eq!(world.row().await.personal, None);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_without_being_quoted() {
    let world = world().await;
    for (name, value) in [("x-api-key", format!("{CANARY}\n{CANARY}")), ("x-other", CANARY.to_owned())] {
        let fault = world.give(&[(name, &value)]).await.unwrap_err();
        assert!(!format!("{fault:?} {fault}").contains(CANARY), "{fault:?}");
    }
    assert!(world.store.connections_of(world.key.user).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_key_of_the_vault_takes_it_along() {
    let (world, random) = (world().await, Random::default());
    let (old, new) = (Vault::generate_key(&random), Vault::generate_key(&random));
    let before = Vault::new(&old, &[]).unwrap();
    before.check(&world.store).await.unwrap();
    let given = PersonalCredentials::new(world.store.clone(), before, world.clock.clone(), random);
    let upstream = world.registry.by_authority(world.authority()).unwrap();
    let key = Secret::new("kept".to_owned());
    let row = given.with(&world.key, &upstream, &[("x-api-key", &key)]).await.unwrap();
    world.store.replace_connection(&row).await.unwrap();
    let after = Vault::new(&new, &[old]).unwrap();
    let outcome = after.rewrap_all(&world.store, &mut |_| {}).await.unwrap();
    assert_eq!((outcome.done, outcome.damaged), (1, Vec::new()));
    let alone = Vault::new(&new, &[]).unwrap();
    let connections = connections(&world.store, &alone, &world.registry, &world.clock);
    assert_eq!(injected(&connections.credential(&world.key).await.unwrap()).1, "kept");
}
