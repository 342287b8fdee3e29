//! Everything travels into another database and is the same there.

use super::*;
use crate::ids::Digest;
use crate::store::transfer;

pub(super) async fn everything_travels(from: &Store, to: &Store) {
    let ada = known_user(from, "ada").await;
    let granted = known_grant(from, ada).await;
    for number in 0..1200 {
        from.insert_refresh_token(&refresh_token(granted, &number.to_string())).await.unwrap();
    }
    from.put_connection(&connection(ada, "mcp.example", "")).await.unwrap();
    let given = Connection { personal: Some("x-api-key".to_owned()), ..connection(ada, "other.example", "") };
    from.replace_connection(&given).await.unwrap();
    let hidden = MemberName { authority: "other.example".to_owned(), account: "work".to_owned() };
    from.hide_member(ada, &hidden).await.unwrap();
    from.put_setting("name", b"\0value").await.unwrap();
    let happened = AuditEvent::new(NOW, "a\0da", "login.succeeded", "password", None);
    from.append_audit(&[happened.clone(), happened.clone()]).await.unwrap();
    let calls = vec![happened.line(); 3000];
    let (_, head) = from.append_audit_lines(&calls).await.unwrap()[2999];

    let mut export = from.export().await.unwrap();
    let of = |table: &str| export.tables().iter().position(|one| one.name == table).unwrap();
    assert!(of("users") < of("sessions") && of("grants") < of("codes"), "what is referred to comes first");
    assert!(export.tables().iter().all(|table| table.name != "changes"));
    // What is written from now on does not belong to it. (In memory there is one connection, and the export has it.)
    if matches!(from.database, Database::Postgres(_)) {
        known_user(from, "late").await;
    }
    let mut import = to.import().await.unwrap();
    assert_eq!(import.rows().await.unwrap(), 0);
    let mut sent = std::collections::BTreeMap::<String, transfer::Tally>::new();
    while let Some((table, rows)) = export.next().await.unwrap() {
        let tally = sent.entry(table.name.clone()).or_default();
        rows.iter().for_each(|row| tally.add(row));
        import.insert(&table.name, &table.columns, &rows).await.unwrap();
    }
    for table in export.tables() {
        let (expected, tally) = (table.rows, sent.entry(table.name.clone()).or_default());
        assert_eq!(tally.rows(), expected, "{}", table.name);
    }
    let arrived = import.summaries().await.unwrap();
    let sent: Vec<_> = sent.iter().map(|(table, tally)| tally.summary(table)).collect();
    for summary in &arrived {
        assert!(sent.contains(summary), "{summary:?}");
    }
    import.commit().await.unwrap();
    assert_eq!(to.user_by_name("ada").await.unwrap().unwrap().id, ada);
    assert!(to.user_by_name("late").await.unwrap().is_none());
    assert_eq!(to.connection_by_id(given.id).await.unwrap().unwrap().personal, given.personal);
    assert_eq!(to.hidden_members(ada).await.unwrap(), [hidden]);
    assert_eq!(to.setting("name").await.unwrap().unwrap(), b"\0value");
    assert_eq!(to.refresh_token(&Digest::of("7")).await.unwrap().unwrap().grant, granted);

    let verdict = to.verify_audit(Some(head)).await.unwrap();
    assert_eq!((verdict.lines, verdict.broken), (3002, None), "the audit log's chain goes on there");
    to.append_audit_lines(&calls).await.unwrap();
    assert_eq!(to.verify_audit(Some(head)).await.unwrap().broken, None);
    let kept = "a\u{fffd}da";
    assert_eq!(
        to.audit_page(AuditSelection { actor: Some(kept), ..Default::default() }, None, 9).await.unwrap().len(),
        9
    );

    // Without a commit nothing happens.
    let mut import = to.import().await.unwrap();
    import.clear().await.unwrap();
    assert_eq!(import.rows().await.unwrap(), 0);
    drop(import);
    assert_eq!(to.user_by_name("ada").await.unwrap().unwrap().id, ada);
    let mut import = to.import().await.unwrap();
    let unknown = import.insert("users", &["nobody".to_owned()], &[]).await;
    assert!(matches!(unknown, Err(StoreError::Damaged(_))));
}
