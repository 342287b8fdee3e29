//! The processes that serve.

use super::*;
use crate::ids::{NodeId, Random};

pub(super) async fn a_node_is_listed_until_it_leaves_or_falls_silent(store: &Store) {
    let (first, second) = (node("a", 1), node("b", 2));
    for one in [&second, &first] {
        store.put_node(one).await.unwrap();
    }
    let listed = async || store.nodes().await.unwrap().into_iter().map(|seen| seen.node).collect::<Vec<_>>();
    assert_eq!(listed().await, [first.clone(), second.clone()], "the oldest first");
    let busy = Node { ending: true, streams: 3, memory: 1 << 33, behind_ms: 250, ..first.clone() };
    store.put_node(&busy).await.unwrap();
    let seen = store.nodes().await.unwrap();
    assert_eq!((&seen[0].node, seen.len()), (&busy, 2));
    assert!(seen[0].silent < Duration::from_secs(60));

    store.sweep_nodes(Duration::from_secs(600)).await.unwrap();
    assert_eq!(listed().await.len(), 2, "neither was silent");
    store.remove_node(first.id).await.unwrap();
    assert_eq!(listed().await, [second]);
}

/// Only where time is an argument: PostgreSQL has its own.
pub(super) async fn a_node_that_ended_without_a_word_is_forgotten(store: &Store) {
    let (silent, alive) = (node("a", 1), node("b", 2));
    store.put_node(&silent).await.unwrap();
    if matches!(store.database, Database::Postgres(_)) {
        return;
    }
    store.clock().advance(Duration::from_secs(700));
    assert!(store.nodes().await.unwrap()[0].silent >= Duration::from_secs(700));
    store.put_node(&alive).await.unwrap();
    store.sweep_nodes(Duration::from_secs(600)).await.unwrap();
    assert_eq!(store.nodes().await.unwrap().into_iter().map(|seen| seen.node).collect::<Vec<_>>(), [alive]);
}

fn node(host: &str, started: i64) -> Node {
    Node {
        id: NodeId::random(&Random::default()),
        host: host.to_owned(),
        pid: 42,
        version: "0.1.0".to_owned(),
        started_at: Timestamp(started),
        ending: false,
        streams: 0,
        memory: 1 << 20,
        behind_ms: 0,
    }
}
