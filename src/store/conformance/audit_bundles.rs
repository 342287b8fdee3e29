//! Lines of the audit log that are written many at a time: whoever reads, verifies or sweeps finds them as if each had a row.

use super::audit_chain::{broken, run};
use super::*;
use crate::ids::Digest;
use crate::store::database::query;

/// What a log consists of, as it should come out: each line's number, and the line.
type Model = Vec<(i64, AuditEvent)>;

fn line(number: u64) -> AuditEvent {
    let actor = if number.is_multiple_of(97) { "ada" } else { ["bob", "carol", "dave"][number as usize % 3] };
    let (action, subject) = match number % 5 {
        0 => ("request.forwarded", "tools/list"),
        1 => ("tool.refused", "drop"),
        _ => ("tool.called", "get"),
    };
    AuditEvent {
        upstream: Some(format!("{}.example", number % 4)),
        client: (!number.is_multiple_of(7)).then(|| format!("client of {actor}")),
        status: (!number.is_multiple_of(11)).then_some(200),
        duration_ms: Some(7),
        ..AuditEvent::new(later(number / 10), actor, action, subject, Some("192.0.2.1".to_owned()))
    }
}

/// Adds lines, in bundles where they are many.
async fn append(store: &Store, model: &mut Model, count: u64) -> Vec<AuditLink> {
    let first = model.len() as u64;
    let events: Vec<_> = (first..first + count).map(line).collect();
    let lines: Vec<_> = events.iter().map(AuditEvent::line).collect();
    let places = store.append_audit_lines(&lines).await.unwrap();
    model.extend(places.iter().map(|(number, _)| *number).zip(events));
    places.into_iter().map(|(_, link)| link).collect()
}

/// Few, many, very many, and few again.
async fn filled(store: &Store) -> (Model, Vec<AuditLink>) {
    let (mut model, mut links) = (Model::new(), Vec::new());
    for count in [3, 100, 2500, 1, 33, 2] {
        links.extend(append(store, &mut model, count).await);
    }
    (model, links)
}

async fn bundles(store: &Store) -> Vec<(i64, i64)> {
    let select = crate::store::database::query_as("SELECT first_position, last_position FROM audit_bundles ORDER BY 1");
    select.fetch_all(store.database.readers()).await.unwrap()
}

fn fits(number: i64, event: &AuditEvent, selection: &AuditSelection<'_>) -> bool {
    selection.actor.is_none_or(|actor| actor == event.actor)
        && selection.action.is_none_or(|action| action == event.action)
        && selection.upstream.is_none_or(|upstream| Some(upstream) == event.upstream.as_deref())
        && selection.client.is_none_or(|client| Some(client) == event.client.as_deref())
        && selection.tool.is_none_or(|tool| event.action.starts_with("tool.") && tool == event.subject)
        && selection.since.is_none_or(|since| event.at >= since)
        && selection.until.is_none_or(|until| event.at < until)
        && selection.first.is_none_or(|first| number >= first)
        && selection.last.is_none_or(|last| number <= last)
}

pub(super) async fn bundled_lines_are_found_like_rows(store: &Store) {
    let (model, links) = filled(store).await;
    assert_eq!(bundles(store).await, [(4, 102), (104, 1127), (1128, 2151), (2152, 2602), (2605, 2636)]);
    let described = |(number, event): &(i64, AuditEvent)| format!("{number} {event:?}");
    let all = AuditSelection::default();
    for selection in [
        all,
        AuditSelection { actor: Some("ada"), ..all },
        AuditSelection { actor: Some("eve"), ..all },
        AuditSelection { tool: Some("drop"), actor: Some("ada"), ..all },
        AuditSelection { tool: Some("tools/list"), ..all },
        AuditSelection { upstream: Some("2.example"), client: Some("client of bob"), ..all },
        AuditSelection { action: Some("request.forwarded"), since: Some(later(50)), until: Some(later(55)), ..all },
        AuditSelection { first: Some(model[1000].0), last: Some(model[1050].0), ..all },
        AuditSelection { actor: Some("ada"), first: Some(model[300].0), ..all },
    ] {
        for edge in [0, 2, 3, 50, 102, 103, 1126, 1127, 1500, 2601, 2638] {
            let number = model[edge].0;
            let older = model[..edge].iter().rev().filter(|(number, event)| fits(*number, event, &selection));
            let expected: Vec<_> = older.take(21).map(described).collect();
            let found = store.audit_page(selection, Some(number), 21).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|line| described(&(line.number, line.event))).collect();
            assert_eq!(found, expected, "{selection:?} before {edge}");

            let newer = model[edge + 1..].iter().filter(|(number, event)| fits(*number, event, &selection));
            let expected: Vec<_> = newer.take(1200).map(described).collect();
            let found = store.audit_lines(selection, number, 1200).await.unwrap();
            for line in &found {
                let at = model.iter().position(|(number, _)| *number == line.numbered.number).unwrap();
                assert_eq!(line.link, Some(links[at]));
            }
            let found = found.into_iter().map(|line| described(&(line.numbered.number, line.numbered.event)));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{selection:?} after {edge}");
        }
    }
    assert_eq!(store.audit(1).await.unwrap()[0].at, later(263));
    assert_eq!(store.audit(u32::MAX).await.unwrap().len(), model.len());
}

pub(super) async fn stretches_count_bundled_lines(store: &Store) {
    let (model, _) = filled(store).await;
    for actor in [None, Some("ada"), Some("bob"), Some("eve")] {
        let of_actor = |(_, event): &&(i64, AuditEvent)| actor.is_none_or(|actor| actor == event.actor);
        for edge in [0, 2, 3, 50, 102, 103, 1126, 1500, 2601, 2638] {
            let number = model[edge].0;
            for lines in [1, 2, 10, 99, 1000, 2000, 5000] {
                // Where exactly it ends between two lines of an actor does not matter; how many are in it does.
                let far = store.audit_stretch(Stretch::After(number), actor, lines).await.unwrap();
                let newer = model[edge + 1..].iter().filter(of_actor);
                let within = newer.clone().filter(|(number, _)| far.is_some_and(|far| *number <= far)).count();
                assert_eq!(within, newer.count().min(lines as usize), "{lines} of {actor:?} after {edge}");
                let far = store.audit_stretch(Stretch::Before(number), actor, lines).await.unwrap();
                let older = model[..edge].iter().filter(of_actor);
                let within = older.clone().filter(|(number, _)| far.is_some_and(|far| *number >= far)).count();
                assert_eq!(within, older.count().min(lines as usize), "{lines} of {actor:?} before {edge}");
            }
        }
    }
    for second in [0, 1, 5, 100, 263, 264, 1000] {
        let before = model.iter().filter(|(_, event)| event.at < later(second));
        let expected = before.max_by_key(|(number, event)| (event.at, *number)).map(|(number, _)| *number);
        assert_eq!(store.audit_number_at(later(second)).await.unwrap(), expected, "{second}");
    }
}

pub(super) async fn a_chain_of_bundles_holds_and_retention_shortens_it(store: &Store) {
    let (model, links) = filled(store).await;
    let verdict = store.verify_audit(Some(links[1234])).await.unwrap();
    assert_eq!((verdict.lines, verdict.head, verdict.broken), (2639, links.last().copied(), None));
    for sql in ["UPDATE audit_bundles SET content = hash", "DELETE FROM audit_bundles"] {
        let refused = run(store, sql).await.unwrap_err();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    // The first lines of a bundle are old, its last one is not.
    store.sweep_audit(later(100)).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.kept_after, verdict.broken), (2639 - 103, 103, None));
    assert_eq!(store.audit(u32::MAX).await.unwrap().len(), 2639 - 103);
    assert_eq!(store.verify_audit(Some(links[1234])).await.unwrap().broken, None);
    store.sweep_audit(later(1000)).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.kept_after, verdict.head), (0, 2639, links.last().copied()));
    assert_eq!(
        store.audit_page(AuditSelection { actor: Some("bob"), ..Default::default() }, None, 9).await.unwrap().len(),
        0
    );
    let mut model = model;
    append(store, &mut model, 100).await;
    assert_eq!(broken(store, links.last().copied()).await, None);
}

pub(super) async fn every_change_of_a_bundle_is_found(store: &Store) {
    let (_, links) = filled(store).await;
    without_triggers(store).await;
    run(store, "CREATE TABLE kept_bundles AS SELECT * FROM audit_bundles").await.unwrap();
    run(store, "CREATE TABLE kept_actors AS SELECT * FROM audit_bundle_actors").await.unwrap();
    let hash = Digest::of("another");
    for (change, expected) in [
        ("UPDATE audit_bundles SET last_id = last_id + 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET first_id = first_id + 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET first_at = first_at - 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET last_at = last_at - 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET lines = lines - 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET last_position = 1 WHERE first_position = 104", (104, Breach::Altered)),
        ("UPDATE audit_bundles SET first_position = 105 WHERE first_position = 104", (104, Breach::Missing)),
        ("UPDATE audit_bundles SET hash = ? WHERE first_position = 104", (104, Breach::Altered)),
        ("DELETE FROM audit_bundles WHERE first_position = 1128", (1128, Breach::Missing)),
        (
            "UPDATE audit_bundles SET content = (SELECT content FROM kept_bundles WHERE first_position = 104)
             WHERE first_position = 1128",
            (1128, Breach::Altered),
        ),
        ("DELETE FROM audit_bundle_actors WHERE actor = 'ada'", (4, Breach::Altered)),
        ("UPDATE audit_bundle_actors SET lines = lines + 1 WHERE actor = 'ada'", (4, Breach::Altered)),
        ("DELETE FROM audit WHERE position = 103", (103, Breach::Missing)),
        (
            "INSERT INTO audit (id, at, actor, action, subject, position) VALUES (100000, 1, 'eve', 'x', 'y', 50)",
            (50, Breach::Outside),
        ),
    ] {
        assert_eq!(broken(store, None).await, None, "before {change}");
        run(store, "CREATE TABLE kept_rows AS SELECT * FROM audit").await.unwrap();
        let mut query = query(change);
        if change.contains('?') {
            query = query.bind(hash);
        }
        query.execute(store.database.writer()).await.unwrap();
        assert_eq!(broken(store, None).await, Some(expected), "{change}");
        for (table, kept) in
            [("audit_bundles", "kept_bundles"), ("audit_bundle_actors", "kept_actors"), ("audit", "kept_rows")]
        {
            for sql in [format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM {kept}")] {
                // A statement is part of the program everywhere else.
                run(store, String::leak(sql)).await.unwrap();
            }
        }
        run(store, "DROP TABLE kept_rows").await.unwrap();
    }
    // Any byte of what is in it.
    let select = "SELECT content FROM audit_bundles WHERE first_position = 2605";
    let content: Vec<u8> =
        crate::store::database::query_scalar(select).fetch_one(store.database.readers()).await.unwrap();
    for at in (0..content.len()).step_by(29) {
        let mut changed = content.clone();
        changed[at] ^= 1;
        let update = query("UPDATE audit_bundles SET content = ? WHERE first_position = 2605").bind(&changed);
        update.execute(store.database.writer()).await.unwrap();
        let found = broken(store, None).await;
        assert!(found.is_some_and(|(position, _)| (2605..=2637).contains(&position)), "{at}: {found:?}");
    }
    let update = query("UPDATE audit_bundles SET content = ? WHERE first_position = 2605").bind(&content);
    update.execute(store.database.writer()).await.unwrap();
    assert_eq!(broken(store, links.last().copied()).await, None);
}

pub(super) async fn many_writers_of_bundles_make_one_chain(store: &Store) {
    let wrote = winners(|number| {
        let store = store.clone();
        async move {
            let events: Vec<_> = (0..40).map(|_| line(number as u64)).collect();
            let lines: Vec<_> = events.iter().map(AuditEvent::line).collect();
            let lines = if number % 2 == 0 { &lines[..] } else { &lines[..2] };
            store.append_audit_lines(lines).await.unwrap().len() == lines.len()
        }
    });
    assert_eq!(wrote.await, 100);
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.broken), (50 * 42, None));
    let lines = store.audit_lines(AuditSelection::default(), 0, 10_000).await.unwrap();
    let positions: Vec<_> = lines.iter().map(|line| line.link.unwrap().position).collect();
    assert_eq!(positions, (1..=50 * 42).collect::<Vec<_>>());
}

/// During an upgrade an earlier version numbers its rows behind what bundles have.
pub(super) async fn rows_of_an_earlier_version_stand_behind_bundles(store: &Store) {
    let (mut model, _) = filled(store).await;
    let theirs = "INSERT INTO audit (at, actor, action, subject) VALUES (1, 'ada', 'login.succeeded', 'password')";
    run(store, theirs).await.unwrap();
    let newest = &store.audit_page(AuditSelection::default(), None, 1).await.unwrap()[0];
    assert_eq!(newest.event.action, "login.succeeded");
    assert!(newest.number > model.last().unwrap().0);
    append(store, &mut model, 100).await;
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.not_chained_yet, verdict.broken), (2639 + 1 + 100, 0, None));
}

async fn without_triggers(store: &Store) {
    super::audit_chain::without_triggers(store).await;
    let both = match store.database {
        Database::Sqlite(_) => {
            ["DROP TRIGGER audit_bundles_are_never_changed", "DROP TRIGGER audit_bundles_end_with_retention_only"]
        }
        Database::Postgres(_) => [
            "DROP TRIGGER audit_bundles_are_never_changed ON audit_bundles",
            "DROP TRIGGER audit_bundles_end_with_retention_only ON audit_bundles",
        ],
    };
    for sql in both {
        run(store, sql).await.unwrap();
    }
}
