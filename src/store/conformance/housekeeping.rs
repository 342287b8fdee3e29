//! Settings, audit, sweeping.

use super::*;
use crate::clock::CLOCK_JUMP;
use crate::ids::Digest;

const DAY: u64 = 24 * 60 * 60;

pub(super) async fn settings_are_compared_and_deleted(store: &Store) {
    assert_eq!(store.setting("a").await.unwrap(), None);
    store.put_setting("a", b"1").await.unwrap();
    assert!(!store.put_setting_if_absent("a", b"2").await.unwrap());
    assert!(store.put_setting_if_absent("b", b"").await.unwrap());
    assert_eq!(store.setting("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(store.setting("b").await.unwrap().as_deref(), Some(&b""[..]));
    store.put_setting("a", b"3").await.unwrap();
    assert!(!store.delete_setting_if("a", b"1").await.unwrap());
    let deleters = winners(|_| {
        let store = store.clone();
        async move { store.delete_setting_if("a", b"3").await.unwrap() }
    });
    assert_eq!(deleters.await, 1);
    assert!(store.delete_setting("b").await.unwrap());
    assert!(!store.delete_setting("b").await.unwrap());
}

pub(super) async fn audit_is_newest_first(store: &Store) {
    for (second, address) in [(0, None), (1, Some("192.0.2.1".to_owned())), (1, None)] {
        let event = AuditEvent::new(later(second), "ada", "login.succeeded", "password", address);
        store.append_audit(&[event]).await.unwrap();
    }
    let events = store.audit(2).await.unwrap();
    let described: Vec<_> = events.iter().map(|event| (event.at, event.address.as_deref())).collect();
    assert_eq!(described, [(later(1), None), (later(1), Some("192.0.2.1"))]);

    let call = |number: u32| AuditEvent {
        upstream: Some("mcp.example".to_owned()),
        client: Some("claude".to_owned()),
        status: Some(200),
        duration_ms: Some(number),
        ..AuditEvent::new(later(u64::from(number)), "ada", "tool.called", "get", None)
    };
    let calls: Vec<_> = (2..200).map(call).collect();
    store.append_audit(&calls).await.unwrap();
    store.append_audit(&[]).await.unwrap();
    let newest = &store.audit(1).await.unwrap()[0];
    assert_eq!((newest.status, newest.duration_ms, newest.client.as_deref()), (Some(200), Some(199), Some("claude")));
    assert_eq!(store.audit(1000).await.unwrap().len(), 3 + calls.len());
    store.sweep_audit(later(100)).await.unwrap();
    assert_eq!(store.audit(1000).await.unwrap().len(), 100);
}

pub(super) async fn what_works_once_works_once(store: &Store) {
    let (proof, other) = (Digest::of("proof"), Digest::of("another"));
    let users = winners(|_| {
        let store = store.clone();
        async move { store.use_once(&proof, later(10)).await.unwrap() }
    });
    assert_eq!(users.await, 1);
    let batch = [(other, later(10)), (proof, later(10)), (other, later(10))];
    assert_eq!(store.use_each_once(&batch).await.unwrap(), [true, false, false]);
    store.sweep(later(9), Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(!store.use_once(&proof, later(10)).await.unwrap());
    store.sweep(later(10), Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(!store.use_once(&proof, later(10)).await.unwrap(), "the clock may have been ahead");
    store.sweep(later(10).after(CLOCK_JUMP), Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(store.use_once(&proof, later(20)).await.unwrap(), "nobody accepts so old a proof");
}

pub(super) async fn sweeping_takes_what_is_dead(store: &Store) {
    let ada = known_user(store, "ada").await;
    let (keep_revoked, unused) = (Duration::from_secs(7 * DAY), Duration::from_secs(DAY));
    store.insert_session(&session(ada, "session")).await.unwrap();
    store.insert_flow(&flow("flow")).await.unwrap();
    store.insert_client(&client("realm", "unused")).await.unwrap();
    store.insert_client(&client("realm", "used")).await.unwrap();
    store.touch_client("realm", "used", NOW).await.unwrap();
    let (living, revoked) = (known_grant(store, ada).await, known_grant(store, ada).await);
    store.insert_refresh_token(&refresh_token(living, "token")).await.unwrap();
    store.revoke_grant(revoked, NOW).await.unwrap();
    let (code, token) = (Digest::of(living.to_string()), Digest::of("token"));

    store.sweep(NOW, keep_revoked, unused).await.unwrap();
    assert!(store.session(&Digest::of("session"), NOW).await.unwrap().is_some());
    assert!(store.flow(&Digest::of("flow"), NOW).await.unwrap().is_some());
    assert!(store.refresh_token(&token).await.unwrap().is_some());
    assert_eq!(store.clients().await.unwrap().len(), 2);

    store.sweep(later(1000), keep_revoked, unused).await.unwrap();
    assert!(store.session(&Digest::of("session"), NOW).await.unwrap().is_none());
    assert!(store.flow(&Digest::of("flow"), NOW).await.unwrap().is_none());
    assert!(store.refresh_token(&token).await.unwrap().is_none());
    assert!(store.code(&code).await.unwrap().is_some(), "a replay must still be recognised");

    store.sweep(later(DAY + 60), keep_revoked, unused).await.unwrap();
    assert!(store.code(&code).await.unwrap().is_none());
    assert!(store.client("realm", "unused").await.unwrap().is_none());
    assert!(store.grant(revoked).await.unwrap().is_some(), "its access tokens may be alive");

    store.sweep(later(7 * DAY + 1), keep_revoked, unused).await.unwrap();
    assert!(store.grant(revoked).await.unwrap().is_none());
    assert!(store.grant(living).await.unwrap().is_some());
    assert!(store.client("realm", "used").await.unwrap().is_some());
    assert_eq!(told(store, 0).await, [Change::PeopleChanged, Change::GrantRevoked(revoked)]);
}
