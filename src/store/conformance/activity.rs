//! What happened, added up.

use super::*;
use crate::ids::ConnectionId;

const STEP: i64 = 900;

fn key(step: i64, [person, upstream, client, tool]: [&str; 4]) -> ActivityKey {
    let slice = ActivitySlice {
        person: person.to_owned(),
        upstream: upstream.to_owned(),
        client: client.to_owned(),
        tool: tool.to_owned(),
    };
    ActivityKey { resolution: STEP, step: Timestamp(step * STEP), slice }
}

fn counts(requests: u64, streams: u64) -> ActivityCounts {
    let mut latencies = [0; LATENCIES];
    (latencies[0], latencies[LATENCIES - 1]) = (requests, 1);
    ActivityCounts { requests, errors: 1, refused: 2, refreshes: 3, streams, latencies }
}

fn span() -> ActivitySpan {
    ActivitySpan { resolution: STEP, begin: Timestamp(10 * STEP), steps: 4 }
}

pub(super) async fn activity_adds_up(store: &Store) {
    let of = ["ann", "notes.example", "", ""];
    let rows: Vec<_> = (9..15).map(|step| (key(step, of), counts(2, 4))).collect();
    store.add_activity(&rows).await.unwrap();
    store.add_activity(&[(key(10, of), counts(5, 3))]).await.unwrap();
    let points = store.activity_points(&span(), &key(0, of).slice).await.unwrap();
    let mut both = counts(2, 4);
    both.add(&counts(5, 3));
    assert_eq!((both.requests, both.errors, both.streams, both.latencies[0]), (7, 2, 4, 7));
    let steps: Vec<_> = points.iter().map(|(step, _)| step.0 / STEP).collect();
    assert_eq!(steps, [10, 11, 12, 13]);
    assert_eq!(points[0].1, both);
    assert_eq!(points[3].1, counts(2, 4));

    store.sweep_activity(60, Timestamp(100 * STEP)).await.unwrap();
    store.sweep_activity(STEP, Timestamp(13 * STEP)).await.unwrap();
    let points = store.activity_points(&span(), &key(0, of).slice).await.unwrap();
    assert_eq!(points, [(Timestamp(13 * STEP), counts(2, 4))]);
}

pub(super) async fn many_writers_add_to_the_same_rows(store: &Store) {
    // More than one statement writes.
    let rows: Vec<_> =
        (0..500).map(|number| (key(10, ["", &format!("{number:03}.example"), "", ""]), counts(1, 1))).collect();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, rows) = (store.clone(), rows.clone());
            tokio::spawn(async move { store.add_activity(&rows).await.unwrap() })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let none = ActivitySlice::default();
    let shares = store.activity_shares(&[span()], &none, (ActivityName::Upstream, &[]), 1000).await.unwrap();
    assert_eq!(shares.len(), 500);
    assert!(shares.iter().all(|share| share.counts.requests == 8 && share.counts.streams == 1));
    assert_eq!((shares[0].name.as_str(), shares[499].name.as_str()), ("000.example", "499.example"));
}

pub(super) async fn the_busiest_come_first(store: &Store) {
    let mut rows = Vec::new();
    for (person, tool, requests) in [("ann", "get", 3), ("ann", "put", 1), ("bob", "get", 5), ("bob", "new", 9)] {
        for upstream in ["mail.example", "notes.example"] {
            rows.push((key(10, [person, upstream, "", tool]), counts(requests, 0)));
            rows.push((key(12, [person, upstream, "", tool]), counts(1, 0)));
        }
    }
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    store.add_activity(&rows).await.unwrap();
    let shares = async |of: [&str; 4], by, limit| -> Vec<(String, u64)> {
        let shares = store.activity_shares(&[span()], &key(0, of).slice, (by, &[]), limit).await.unwrap();
        shares.into_iter().map(|share| (share.name, share.counts.requests)).collect()
    };
    let of_ann = shares(["ann", "", "", ""], ActivityName::Tool, 3).await;
    assert_eq!(of_ann, [("get".to_owned(), 4), ("get".to_owned(), 4), ("put".to_owned(), 2)]);
    let of_mail = shares(["", "mail.example", "", "get"], ActivityName::Person, 9).await;
    assert_eq!(of_mail, [("bob".to_owned(), 6), ("ann".to_owned(), 4)]);
    let of = key(0, ["", "mail.example", "", "get"]).slice;
    // The beginning in short steps, the rest in a long one; and only Ann.
    let long =
        ActivityKey { resolution: 4 * STEP, step: Timestamp(12 * STEP), ..key(0, ["ann", "mail.example", "", "get"]) };
    store.add_activity(&[(long, counts(100, 7))]).await.unwrap();
    let (before, after) = (
        ActivitySpan { steps: 2, ..span() },
        ActivitySpan { resolution: 4 * STEP, begin: Timestamp(12 * STEP), steps: 1 },
    );
    let ann = ["ann".to_owned()];
    let found = store.activity_shares(&[before, after], &of, (ActivityName::Person, &ann), 9).await.unwrap();
    let [ann] = &found[..] else { panic!("{found:?}") };
    assert_eq!((ann.name.as_str(), ann.counts.requests, ann.counts.streams), ("ann", 103, 7));
    assert!(shares(["", "mail.example", "", ""], ActivityName::Client, 9).await.is_empty(), "no such rows are kept");
    assert!(shares(["ann", "", "", ""], ActivityName::Person, 9).await.is_empty(), "that is herself");
}

pub(super) async fn streams_are_those_of_nodes_that_are_there(store: &Store) {
    let open = |person: &str, streams| OpenStreams {
        person: person.to_owned(),
        upstream: "notes.example".to_owned(),
        client: String::new(),
        streams,
    };
    assert!(!store.count_streams("one", &[open("ann", 2), open("bob", 1)]).await.unwrap());
    assert!(!store.count_streams("two", &[open("ann", 3)]).await.unwrap());
    assert!(store.count_streams("one", &[open("bob", 0)]).await.unwrap());
    assert_eq!(store.open_streams("").await.unwrap(), [open("ann", 5)]);
    assert_eq!(store.open_streams("one").await.unwrap(), [open("ann", 3)]);
    store.sweep_streams().await.unwrap();
    store.leave_streams("two").await.unwrap();
    assert_eq!(store.open_streams("").await.unwrap(), [open("ann", 2)]);
}

pub(super) async fn a_connection_remembers_its_last_use(store: &Store) {
    let ada = known_user(store, "ada").await;
    let connection = connection(ada, "mcp.example", "");
    store.put_connection(&connection).await.unwrap();
    let (before, last_used) = (store.latest_change().await.unwrap(), async || {
        store.connection_by_id(connection.id).await.unwrap().unwrap().last_used_at
    });
    assert_eq!(last_used().await, None);
    let gone = (ConnectionId([9; 16]), later(9));
    store.connections_were_used(&[(connection.id, later(5)), gone]).await.unwrap();
    // Another node saw it earlier, and says so later.
    store.connections_were_used(&[(connection.id, later(2))]).await.unwrap();
    assert_eq!(last_used().await, Some(later(5)));
    assert_eq!(store.latest_change().await.unwrap(), before, "no node forgets its credential for that");
}
