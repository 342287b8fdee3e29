//! The audit log's chain: it holds, it says which line does not, and it survives retention and upgrades.

use super::*;
use crate::ids::Digest;
use crate::store::database::query;

/// Ten lines that differ in their time and duration only, so that a test can put a column back.
async fn ten_lines(store: &Store) -> Vec<AuditLink> {
    let line = |number: u32| AuditEvent {
        upstream: Some("mcp.example".to_owned()),
        client: Some("claude".to_owned()),
        status: Some(200),
        duration_ms: Some(number),
        ..AuditEvent::new(later(u64::from(number)), "ada", "tool.called", "get", Some("192.0.2.1".to_owned()))
    };
    let lines: Vec<_> = (1..=10).map(line).collect();
    let (first, second) = lines.split_at(3);
    let mut places = store.append_audit(first).await.unwrap();
    places.extend(store.append_audit(second).await.unwrap());
    places.into_iter().map(|(_, link)| link).collect()
}

pub(super) async fn run(store: &Store, sql: &'static str) -> Result<(), String> {
    query(sql).execute(store.database.writer()).await.map(drop).map_err(|error| error.to_string())
}

/// As whoever has the database to himself.
pub(super) async fn without_triggers(store: &Store) {
    let both = match store.database {
        Database::Sqlite(_) => ["DROP TRIGGER audit_is_never_changed", "DROP TRIGGER audit_ends_with_retention_only"],
        Database::Postgres(_) => {
            ["DROP TRIGGER audit_is_never_changed ON audit", "DROP TRIGGER audit_ends_with_retention_only ON audit"]
        }
    };
    for sql in both {
        run(store, sql).await.unwrap();
    }
}

/// The first line that does not fit, and why.
pub(super) async fn broken(store: &Store, anchor: Option<AuditLink>) -> Option<(Position, Breach)> {
    store.verify_audit(anchor).await.unwrap().broken.map(|broken| (broken.position, broken.breach))
}

pub(super) async fn a_chain_holds_and_retention_shortens_it(store: &Store) {
    let nothing = store.verify_audit(None).await.unwrap();
    assert_eq!((nothing.lines, nothing.head, nothing.broken), (0, None, None));
    let links = ten_lines(store).await;
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.head, verdict.broken), (10, links.last().copied(), None));
    assert_eq!(store.audit_head().await.unwrap(), links.last().copied());
    for sql in [
        "UPDATE audit SET actor = 'eve' WHERE position = 4",
        "DELETE FROM audit WHERE position = 4",
        "DELETE FROM audit",
    ] {
        let refused = run(store, sql).await.unwrap_err();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    store.sweep_audit(later(5)).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.kept_after, verdict.broken), (6, 4, None));
    for anchor in &links[3..] {
        assert_eq!(broken(store, Some(*anchor)).await, None, "{anchor}");
    }
    assert_eq!(broken(store, Some(links[2])).await, Some((3, Breach::AnchorGone)));
    store.sweep_audit(later(100)).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.kept_after, verdict.head), (0, 10, links.last().copied()));
    let more = ten_lines(store).await;
    assert_eq!(more.last().unwrap().position, 20);
    assert_eq!(broken(store, Some(more[9])).await, None);
}

pub(super) async fn every_change_of_a_line_is_found(store: &Store) {
    ten_lines(store).await;
    without_triggers(store).await;
    for (change, back) in [
        ("UPDATE audit SET at = at + 1 WHERE position = 5", "UPDATE audit SET at = at - 1 WHERE position = 5"),
        ("UPDATE audit SET actor = 'eve' WHERE position = 5", "UPDATE audit SET actor = 'ada' WHERE position = 5"),
        (
            "UPDATE audit SET action = 'tool.refused' WHERE position = 5",
            "UPDATE audit SET action = 'tool.called' WHERE position = 5",
        ),
        ("UPDATE audit SET subject = '' WHERE position = 5", "UPDATE audit SET subject = 'get' WHERE position = 5"),
        (
            "UPDATE audit SET address = NULL WHERE position = 5",
            "UPDATE audit SET address = '192.0.2.1' WHERE position = 5",
        ),
        (
            "UPDATE audit SET upstream = 'x' WHERE position = 5",
            "UPDATE audit SET upstream = 'mcp.example' WHERE position = 5",
        ),
        ("UPDATE audit SET client = '' WHERE position = 5", "UPDATE audit SET client = 'claude' WHERE position = 5"),
        ("UPDATE audit SET status = NULL WHERE position = 5", "UPDATE audit SET status = 200 WHERE position = 5"),
        ("UPDATE audit SET duration_ms = 7 WHERE position = 5", "UPDATE audit SET duration_ms = 5 WHERE position = 5"),
        ("UPDATE audit SET id = id + 100 WHERE position = 5", "UPDATE audit SET id = id - 100 WHERE position = 5"),
        (
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE position = 6) WHERE position = 5",
            "UPDATE audit SET hash = hash WHERE position = 5",
        ),
    ] {
        assert_eq!(broken(store, None).await, None, "before {change}");
        run(store, "CREATE TABLE kept_line AS SELECT id, hash FROM audit WHERE position = 5").await.unwrap();
        run(store, change).await.unwrap();
        assert_eq!(broken(store, None).await, Some((5, Breach::Altered)), "{change}");
        run(store, back).await.unwrap();
        run(store, "UPDATE audit SET hash = (SELECT hash FROM kept_line) WHERE position = 5").await.unwrap();
        run(store, "DROP TABLE kept_line").await.unwrap();
    }
    // Two lines change places.
    run(store, "UPDATE audit SET position = -position WHERE position IN (5, 6)").await.unwrap();
    run(store, "UPDATE audit SET position = 11 + position WHERE position < 0").await.unwrap();
    assert_eq!(broken(store, None).await, Some((5, Breach::Altered)));
}

pub(super) async fn what_is_missing_is_found_as_far_as_it_can_be(store: &Store) {
    let links = ten_lines(store).await;
    without_triggers(store).await;
    run(store, "UPDATE audit SET position = 11 WHERE position = 10").await.unwrap();
    assert_eq!(broken(store, None).await, Some((10, Breach::Missing)));
    run(store, "UPDATE audit SET position = 10 WHERE position = 11").await.unwrap();
    run(store, "UPDATE audit SET position = NULL, hash = NULL WHERE position = 8").await.unwrap();
    assert_eq!(broken(store, None).await, Some((8, Breach::Missing)));
    run(store, "DELETE FROM audit WHERE position > 7 OR position IS NULL").await.unwrap();
    assert_eq!(broken(store, None).await, Some((8, Breach::Missing)), "the end is gone");
    // Whoever cuts the log and writes the new end down is found only by a link that is kept elsewhere.
    run(store, "UPDATE audit_chain SET head = 7, head_hash = (SELECT hash FROM audit WHERE position = 7)")
        .await
        .unwrap();
    assert_eq!(broken(store, None).await, None);
    assert_eq!(broken(store, Some(links[9])).await, Some((10, Breach::Missing)));
    let other = AuditLink { position: 6, hash: Digest::of("another") };
    assert_eq!(broken(store, Some(other)).await, Some((6, Breach::OtherAnchor)));
    run(store, "UPDATE audit_chain SET head = 6, head_hash = (SELECT hash FROM audit WHERE position = 6)")
        .await
        .unwrap();
    assert_eq!(broken(store, None).await, Some((7, Breach::Outside)));
    run(store, "UPDATE audit_chain SET head = 7").await.unwrap();
    assert_eq!(broken(store, None).await, Some((7, Breach::OtherHead)));
    run(store, "UPDATE audit_chain SET kept_after = 1").await.unwrap();
    assert_eq!(broken(store, None).await, Some((1, Breach::Outside)));
    run(store, "DELETE FROM audit_chain").await.unwrap();
    assert_eq!(broken(store, None).await, Some((1, Breach::NoChain)));
    // The log goes on, and does not forget.
    ten_lines(store).await;
    assert_eq!(broken(store, None).await, Some((1, Breach::Outside)));
}

pub(super) async fn lines_of_an_earlier_version_are_taken_in(store: &Store) {
    let theirs = "INSERT INTO audit (at, actor, action, subject) VALUES (1, 'ada', 'login.succeeded', 'password')";
    run(store, theirs).await.unwrap();
    ten_lines(store).await;
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.before_the_chain, verdict.not_chained_yet), (10, 1, 0));
    // During an upgrade both versions write.
    run(store, theirs).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.before_the_chain, verdict.not_chained_yet), (10, 1, 1));
    ten_lines(store).await;
    run(store, theirs).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.not_chained_yet, verdict.broken), (21, 1, None));
    store.sweep_audit(later(0)).await.unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().before_the_chain, 0);
}

pub(super) async fn many_writers_make_one_chain(store: &Store) {
    let wrote = winners(|number| {
        let store = store.clone();
        async move {
            let event = AuditEvent::new(later(number as u64), "ada", "tool.called", "get", None);
            store.append_audit(&[event.clone(), event]).await.unwrap().len() == 2
        }
    });
    assert_eq!(wrote.await, 100);
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.broken), (200, None));
    let lines = store.audit_lines(AuditSelection::default(), 0, 1000).await.unwrap();
    let positions: Vec<_> = lines.iter().map(|line| line.link.unwrap().position).collect();
    assert_eq!(positions, (1..=200).collect::<Vec<_>>());
}
