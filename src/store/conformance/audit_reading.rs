//! Looking through the audit log: by whatever is known of a line, and never further than somebody wants to pay for.

use super::*;

fn call(second: u64, actor: &str, tool: &str) -> AuditEvent {
    AuditEvent {
        upstream: Some(format!("{tool}.example")),
        client: Some(format!("client of {actor}")),
        status: Some(200),
        duration_ms: Some(7),
        ..AuditEvent::new(later(second), actor, "tool.called", tool, None)
    }
}

/// What the selected lines are about, newest first.
async fn subjects(store: &Store, selection: AuditSelection<'_>) -> Vec<String> {
    let lines = store.audit_page(selection, None, 1000).await.unwrap();
    lines.into_iter().map(|line| line.event.subject).collect()
}

pub(super) async fn lines_are_found_by_all_that_is_known_of_them(store: &Store) {
    let all = AuditSelection::default();
    let refused = AuditEvent { action: "tool.refused".to_owned(), ..call(3, "ada", "put") };
    let other = AuditEvent::new(later(4), "ada", "grant.created", "get", None);
    let events = [call(1, "ada", "get"), call(2, "bob", "get"), refused, other];
    let numbers: Vec<i64> = store.append_audit(&events).await.unwrap().into_iter().map(|(number, _)| number).collect();
    for (selection, expected) in [
        (AuditSelection { upstream: Some("get.example"), ..all }, vec!["get", "get"]),
        (AuditSelection { client: Some("client of bob"), ..all }, vec!["get"]),
        (AuditSelection { tool: Some("put"), ..all }, vec!["put"]),
        (AuditSelection { tool: Some("get"), actor: Some("ada"), ..all }, vec!["get"]),
        (AuditSelection { tool: Some("GET"), ..all }, vec![]),
        (AuditSelection { first: Some(numbers[2]), ..all }, vec!["get", "put"]),
        (AuditSelection { first: Some(numbers[1]), last: Some(numbers[2]), ..all }, vec!["put", "get"]),
    ] {
        assert_eq!(subjects(store, selection).await, expected, "{selection:?}");
    }
}

pub(super) async fn stretches_are_bounded_whatever_fits(store: &Store) {
    assert_eq!(store.audit_stretch(Stretch::After(0), None, 10).await.unwrap(), None);
    assert_eq!(store.audit_number_at(later(1000)).await.unwrap(), None);
    let events: Vec<_> = (1..=20).map(|n| call(n, if n % 10 == 0 { "ada" } else { "bob" }, "get")).collect();
    let numbers: Vec<i64> = store.append_audit(&events).await.unwrap().into_iter().map(|(number, _)| number).collect();
    for (stretch, actor, lines, expected) in [
        (Stretch::After(0), None, 5, Some(numbers[4])),
        (Stretch::After(numbers[4]), None, 100, Some(numbers[19])),
        (Stretch::After(numbers[19]), None, 5, None),
        (Stretch::Before(i64::MAX), None, 5, Some(numbers[15])),
        (Stretch::Before(numbers[0]), None, 5, None),
        (Stretch::After(0), Some("ada"), 1, Some(numbers[9])),
        (Stretch::Before(numbers[19]), Some("ada"), 5, Some(numbers[9])),
        (Stretch::After(0), Some("eve"), 5, None),
    ] {
        assert_eq!(store.audit_stretch(stretch, actor, lines).await.unwrap(), expected, "{stretch:?} {actor:?}");
    }
    assert_eq!(store.audit_number_at(later(6)).await.unwrap(), Some(numbers[4]));
    assert_eq!(store.audit_number_at(later(1)).await.unwrap(), None);
}
