//! What a credential rests on may be taken away while it is in use: then it ends, wherever that was decided.

use super::*;
use crate::config::Permitted;
use crate::mcp::{Pattern, ToolPolicy};

fn oauth() -> UpstreamAuth {
    UpstreamAuth::OAuth(Box::default())
}

#[tokio::test]
async fn whoever_may_not_use_an_upstream_any_longer_loses_what_is_open_there() {
    let world = World::new().await;
    world.connect().await;
    let credential = world.credential().await.unwrap();
    world.connections.leave_unusable_upstreams();
    assert!(!credential.life().has_ended(), "nothing has changed");

    let nobody = Some(Permitted::default());
    let configured = UpstreamConfig { allowed: nobody, ..upstream(world.authority(), oauth()) };
    world.registry.reconfigure(&policy(), vec![configured]).await.unwrap();
    world.connections.leave_unusable_upstreams();
    assert!(credential.life().has_ended());
    world.connections.forget_all();
    assert!(world.credential().await.unwrap().life().has_ended(), "what is still in the database opens nothing");
    let (step, text) = failure(world.begin().await);
    assert!(step == "upstream" && text.contains("you may not use this server"), "{step}: {text}");
}

/// What became of a connection in another process, and whether that is its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Untouched,
    Refused,
    Deleted,
}

#[tokio::test]
async fn what_another_process_ended_ends_here_and_nothing_else_does() {
    for fate in [Fate::Untouched, Fate::Refused, Fate::Deleted] {
        for is_named in [true, false] {
            let world = World::new().await;
            world.connect().await;
            let credential = world.credential().await.unwrap();
            let row = world.row().await;
            match fate {
                Fate::Untouched => {}
                Fate::Refused => assert!(world.store.end_connection(row.id, row.version, "refused").await.unwrap()),
                Fate::Deleted => assert!(world.store.delete_connection(row.id).await.unwrap()),
            }
            let mut news = world.connections.news();
            match is_named {
                true => world.connections.catch_up(row.id).await.unwrap(),
                false => world.connections.catch_up_with_all().await.unwrap(),
            }
            let ends = fate != Fate::Untouched;
            assert_eq!(credential.life().has_ended(), ends, "{fate:?}, named: {is_named}");
            assert!(world.connections.cached(&world.key).is_none(), "{fate:?}: it is read again");
            assert_eq!(needs_consent(&world.credential().await), ends, "{fate:?}, named: {is_named}");
            let told = news.try_recv().ok();
            assert!(told == Some(world.key.user) || (fate, is_named) == (Fate::Untouched, false), "{fate:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn other_tools_end_what_is_open_at_that_upstream_alone() {
    let world = World::new().await;
    let (here, other) = (world.authority().clone(), Authority::parse("other.example").unwrap());
    let limited = |tools| {
        vec![UpstreamConfig { tools, ..upstream(&here, UpstreamAuth::None) }, upstream(&other, UpstreamAuth::None)]
    };
    world.registry.reconfigure(&policy(), limited(None)).await.unwrap();
    let there = ConnectionKey::upstream(world.key.user, other.clone(), None);
    let (at_here, at_other) = (world.credential().await.unwrap(), world.connections.credential(&there).await.unwrap());
    let before = world.registry.limited();
    world.connections.leave_relimited_upstreams(&before);
    assert!(!at_here.life().has_ended() && !at_other.life().has_ended(), "nothing has changed");
    let some = ToolPolicy::new(Some(vec![Pattern::parse("read_*").unwrap()]), Vec::new());
    world.registry.reconfigure(&policy(), limited(some)).await.unwrap();
    world.connections.leave_relimited_upstreams(&before);
    assert!(at_here.life().has_ended() && !at_other.life().has_ended());
}

#[tokio::test]
async fn answers_are_counted_by_connection() {
    let world = World::new().await;
    world.connect().await;
    let credential = world.credential().await.unwrap();
    let id = credential.connection().unwrap();
    assert_eq!(world.connections.answers_with(id), 0);
    let answering = [credential.life().answering(), credential.life().answering()];
    assert_eq!(world.connections.answers_with(id), 2);
    drop(answering);
    assert_eq!(world.connections.answers_with(id), 0);
}

#[tokio::test]
async fn what_nobody_uses_is_swept_out() {
    let world = World::new().await;
    world.connect().await;
    drop(world.credential().await.unwrap());
    world.connections.sweep();
    assert!(world.connections.memory.get(&world.key, world.clock.now(), 0).is_some(), "it was used just now");
    world.connections.sweep();
    world.connections.sweep();
    assert!(world.connections.cached(&world.key).is_none());
    assert_eq!(world.connections.lives.holder(world.row().await.id), None);
}
