//! Sessions: whose they are, and what of them outlives a process.

use super::Sessions;
use super::session::{Document, Session, UnderWay};
use crate::clock::Clock;
use crate::ids::{Random, UserId};
use crate::mcp::rpc::Id;
use crate::mcp_client::Resumption;
use crate::store::{Role, Store, User};
use crate::unified::door::Guest;
use crate::vault::Vault;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What several processes share.
struct World {
    store: Store,
    vault: Vault,
    clock: Clock,
    random: Random,
}

impl World {
    async fn new() -> Self {
        let random = Random::default();
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        Self { store: Store::open("sqlite::memory:").await.unwrap(), vault, clock: Clock::standing(), random }
    }

    async fn person(&self, name: &str) -> UserId {
        let user = User {
            id: UserId::random(&self.random),
            name: name.to_owned(),
            password_hash: None,
            email: None,
            role: Role::Member,
            disabled: false,
            created_at: self.clock.now(),
        };
        self.store.create_user(&user).await.unwrap();
        user.id
    }

    fn process(&self) -> Sessions {
        Sessions::new(self.store.clone(), self.vault.clone(), self.clock.clone(), self.random.clone())
    }
}

fn document() -> Document {
    Document { version: "2025-11-25".to_owned(), info: json!({ "name": "test" }), ..Document::default() }
}

async fn begun(sessions: &Sessions, guest: &Guest) -> (String, Arc<Session>) {
    let (id, session) = sessions.make(guest, document());
    assert!(sessions.begin(&session, 10).await.unwrap());
    (id, session)
}

#[tokio::test]
async fn a37_a_session_is_one_persons_at_one_client_and_one_place() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    let sessions = world.process();
    let guest = Guest::somebody(alice, "claude", "");
    let (id, _) = begun(&sessions, &guest).await;
    for node in [&sessions, &world.process()] {
        for stranger in [
            Guest::somebody(bob, "claude", ""),
            Guest::somebody(alice, "cursor", ""),
            Guest::somebody(alice, "claude", "time"),
            Guest::somebody(bob, "cursor", ""),
        ] {
            assert!(node.find(&stranger, &id).await.unwrap().is_none());
        }
        assert!(node.find(&guest, &id).await.unwrap().is_some());
        for other in ["", "x", &id[1..], &id.to_lowercase()] {
            assert!(node.find(&guest, other).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn another_process_goes_on_with_all_that_a_session_remembers() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let (id, session) = begun(&world.process(), &guest).await;
    session.set_log_level("error");
    session.subscribe("file:///a".to_owned());
    session.subscribe("file:///b".to_owned());
    session.unsubscribe("file:///a");
    let resumption = Resumption {
        path: "/mcp".to_owned(),
        session: "theirs".to_owned(),
        version: "2025-06-18".to_owned(),
        capabilities: serde_json::Map::new(),
        info: json!({ "name": "server" }),
        instructions: None,
    };
    let upstreams = BTreeMap::from([("notes".to_owned(), resumption)]);
    assert!(session.remember(upstreams.clone()) && !session.remember(upstreams));
    world.process().save(&session).await.unwrap();

    let found = world.process().find(&guest, &id).await.unwrap().unwrap();
    assert_eq!(found.document(), session.document());
    let caller = found.caller(&guest);
    assert_eq!((caller.log_level.as_deref(), caller.session), (Some("error"), session.caller(&guest).session));
    assert_eq!(found.filter().subscribed.into_iter().collect::<Vec<_>>(), ["file:///b"]);
    assert!(found.resumed.get().is_none(), "its sessions at upstreams have to be taken over first");
    assert!(session.resumed.get().is_some());
}

#[tokio::test]
async fn what_happens_to_a_session_elsewhere_is_noticed_soon() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let (here, there) = (world.process(), world.process());
    let (id, session) = begun(&here, &guest).await;
    let other = there.find(&guest, &id).await.unwrap().unwrap();
    other.set_log_level("debug");
    there.save(&other).await.unwrap();
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(here.find(&guest, &id).await.unwrap().unwrap().log_level().as_deref(), Some("debug"));
    assert_eq!(session.log_level().as_deref(), Some("debug"), "it is the same one");

    let (running, ended) = tokio::sync::oneshot::channel::<()>();
    let work = |under_way| async move {
        let _running = (running, under_way);
        std::future::pending::<()>().await;
    };
    session.start(&Id::from(1), work).unwrap();
    there.end(&other).await.unwrap();
    assert!(there.find(&guest, &id).await.unwrap().is_none());
    world.clock.advance(Duration::from_secs(6));
    assert!(here.find(&guest, &id).await.unwrap().is_none());
    assert!(ended.await.is_err(), "what is under way ends with it");
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_over() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let sessions = world.process();
    let (id, session) = begun(&sessions, &guest).await;
    let weak = Arc::downgrade(&session);
    drop(session);
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(20 * 3600));
        sessions.sweep().await;
        assert!(weak.upgrade().is_none(), "it is only a row");
        assert!(sessions.find(&guest, &id).await.unwrap().is_some(), "use is noted");
    }
    world.clock.advance(Duration::from_secs(24 * 3600));
    sessions.sweep().await;
    assert!(sessions.find(&guest, &id).await.unwrap().is_none());
}

#[tokio::test]
async fn requests_of_a_session_have_ids_of_their_own_and_can_be_cancelled() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let (_, session) = begun(&world.process(), &guest).await;
    let (running, ended) = tokio::sync::oneshot::channel::<()>();
    let work = |under_way| async move {
        let _running = (running, under_way);
        std::future::pending::<()>().await;
    };
    session.start(&Id::from(1), work).unwrap();
    assert!(session.start(&Id::from(1), waits).is_err());
    session.start(&Id::Text("1".to_owned()), waits).unwrap();
    session.cancel(&Id::from(2));
    session.cancel(&Id::from(1));
    session.start(&Id::from(1), waits).unwrap();
    // The end of the one that was cancelled frees nothing that is another one's.
    assert!(ended.await.is_err());
    assert!(session.start(&Id::from(1), waits).is_err());
}

async fn waits(_under_way: UnderWay) {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn an_id_is_free_as_soon_as_there_is_an_answer() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let (_, session) = begun(&world.process(), &guest).await;
    let (answer, answered) = tokio::sync::oneshot::channel();
    let work = |under_way: UnderWay| async move {
        under_way.is_answered();
        answer.send(()).unwrap();
        // What is left to do once it is answered.
        std::future::pending::<()>().await;
    };
    session.start(&Id::from(1), work).unwrap();
    answered.await.unwrap();
    session.cancel(&Id::from(1));
    assert!(session.is_busy(), "there is nothing left to cancel");
    session.start(&Id::from(1), waits).unwrap();
}

#[tokio::test]
async fn there_is_room_for_so_many_questions() {
    let world = World::new().await;
    let guest = Guest::somebody(world.person("alice").await, "claude", "");
    let (_, session) = begun(&world.process(), &guest).await;
    let mut waiting = Vec::new();
    for number in 0..64 {
        let (answer, answered) = tokio::sync::oneshot::channel();
        session.expect(number.to_string(), answer).unwrap();
        waiting.push(answered);
    }
    assert!(session.expect("more".to_owned(), tokio::sync::oneshot::channel().0).is_err());
    waiting.pop();
    let (answer, _waits) = tokio::sync::oneshot::channel();
    assert!(session.expect("more".to_owned(), answer).is_ok(), "nobody waits for one of them any more");
    session.asker("0").unwrap().send(Ok(json!({}))).unwrap();
    assert!(session.asker("0").is_none() && session.asker("unheard-of").is_none());
}
