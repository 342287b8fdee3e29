use super::*;
use crate::clock::Timestamp;
use crate::config::UpstreamAuth;
use crate::hostname::Authority;
use crate::ids::{GrantId, Random, UserId};
use crate::life::Life;
use crate::mcp::Method;
use crate::tokens::AccessToken;
use crate::upstream::{Access, Standing, Upstream};
use std::time::Duration;

async fn audit(wanted: AuditedRequests) -> (Store, Audit) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let audit = Audit::new(store.clone(), Clock::system(), Arc::default(), wanted);
    (store, audit)
}

fn request(method: &str, name: Option<&str>, fate: Fate) -> UpstreamRequest {
    let random = Random::default();
    let token = AccessToken {
        issuer: "https://notes.gw.example".into(),
        audience: "https://notes.gw.example/mcp".into(),
        user: UserId::random(&random),
        username: "alice".into(),
        client_id: "claude".into(),
        scope: "".into(),
        grant: GrantId::random(&random),
        expires_at: Timestamp(0),
        actor: None,
        confirmation: None,
        life: Arc::new(Life::default()),
    };
    let upstream = Upstream {
        authority: Authority::parse("mcp.example").unwrap(),
        name: "Notes".to_owned(),
        alias: None,
        kind: Default::default(),
        path: None,
        auth: Arc::new(UpstreamAuth::None),
        allow_private: false,
        standing: Standing::Allowed,
        access: Access::Everybody,
        tools: None,
    };
    UpstreamRequest {
        at: Timestamp(0),
        token: Arc::new(token),
        upstream: Arc::new(upstream),
        address: [192, 0, 2, 1].into(),
        method: Method::of(method),
        name: name.map(Into::into),
        calls_a_tool: method == "tools/call",
        listens: false,
        fate,
        status: Some(200),
        took: Duration::from_micros(1500),
    }
}

#[tokio::test]
async fn events_arrive_in_order() {
    let (store, audit) = audit(AuditedRequests::None).await;
    audit.record("alice", "login.succeeded", "alice", Some("192.0.2.1".parse().unwrap()));
    audit.clone().record("alice", "grant.created", "Claude at mcp.example", None);
    audit.flush().await;
    let events = store.audit(10).await.unwrap();
    let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["grant.created", "login.succeeded"]);
    assert_eq!(events[1].address.as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn a_flood_waits_for_nobody_and_pushes_no_event_out() {
    let (store, audit) = audit(AuditedRequests::Calls).await;
    let one = request("tools/call", Some("get"), Fate::Answered);
    // The writer does not run before this task yields.
    for _ in 0..2 * REQUESTS {
        audit.request(copy(&one));
    }
    audit.record("alice", "login.succeeded", "alice", None);
    for _ in 0..2 * EVENTS {
        audit.record("system", "test.flood", "", None);
    }
    audit.flush().await;
    let events = store.audit(u32::MAX).await.unwrap();
    assert_eq!(events.len(), REQUESTS + EVENTS);
    assert!(events.iter().any(|event| event.action == "login.succeeded"));
    assert_eq!(audit.metrics.audit_lost.get() as usize, REQUESTS + EVENTS + 1);
    assert_eq!(audit.lost.load(Ordering::Relaxed), 0, "the loss was not told");
}

#[tokio::test]
async fn requests_are_recorded_as_far_as_they_are_wanted() {
    for (wanted, expected) in [
        (AuditedRequests::None, &["tool.refused drop"][..]),
        (
            AuditedRequests::Calls,
            &["tool.called get", "tool.refused drop", "tool.called a, b", "request.unclear (none)"],
        ),
        (
            AuditedRequests::All,
            &[
                "request.forwarded tools/list",
                "request.forwarded prompts/get hello",
                "tool.called get",
                "tool.refused drop",
                "tool.called a, b",
                "request.unclear (none)",
            ],
        ),
    ] {
        let (store, audit) = audit(wanted).await;
        audit.request(request("tools/list", None, Fate::Answered));
        audit.request(request("prompts/get", Some("hello"), Fate::Answered));
        audit.request(request("tools/call", Some("get"), Fate::Failed));
        audit.request(request("tools/call", Some("drop"), Fate::Refused));
        let batch = request("tools/call", Some("a, b"), Fate::Answered);
        audit.request(UpstreamRequest { method: Method::BATCH, ..batch });
        let unseen = request("tools/call", None, Fate::Answered);
        audit.request(UpstreamRequest { method: Method::NONE, ..unseen });
        audit.flush().await;
        let mut events = store.audit(10).await.unwrap();
        events.reverse();
        let told: Vec<String> = events.iter().map(|event| format!("{} {}", event.action, event.subject)).collect();
        assert_eq!(told, expected);
        let first = &events[0];
        assert_eq!((first.actor.as_str(), first.client.as_deref()), ("alice", Some("claude")));
        assert_eq!((first.upstream.as_deref(), first.address.as_deref()), (Some("mcp.example"), Some("192.0.2.1")));
        assert_eq!((first.status, first.duration_ms), (Some(200), Some(1)));
        assert!(first.at > Timestamp(0));
    }
}

#[tokio::test]
async fn what_is_recorded_is_written_after_the_last_clone_is_gone() {
    let (store, audit) = audit(AuditedRequests::Calls).await;
    audit.request(request("tools/call", Some("get"), Fate::Answered));
    audit.record("alice", "login.succeeded", "alice", None);
    drop(audit);
    let written = async {
        while store.audit(10).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
}

fn copy(one: &UpstreamRequest) -> UpstreamRequest {
    UpstreamRequest { token: one.token.clone(), upstream: one.upstream.clone(), name: None, ..*one }
}

#[tokio::test]
async fn lines_go_to_a_file_too_which_may_be_moved_away() {
    let (store, audit) = audit(AuditedRequests::None).await;
    let directory = tempfile::tempdir().unwrap();
    let (file, away) = (directory.path().join("audit.jsonl"), directory.path().join("away.jsonl"));
    let lines = |path: &std::path::Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    audit.write_to(Some(&file)).await.unwrap();
    audit.record("alice", "login.succeeded", "a \"quoted\"\nsubject", Some("192.0.2.1".parse().unwrap()));
    audit.flush().await;
    let first = lines(&file).remove(0);
    let head = store.audit_head().await.unwrap().unwrap();
    assert_eq!(format!("{}:{}", first["position"], first["hash"].as_str().unwrap()), head.to_string());
    assert_eq!((&first["subject"], &first["address"]), (&"a \"quoted\"\nsubject".into(), &"192.0.2.1".into()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    std::fs::rename(&file, &away).unwrap();
    audit.write_to(Some(&file)).await.unwrap();
    audit.record("alice", "grant.created", "Claude", None);
    audit.flush().await;
    assert_eq!((lines(&away).len(), lines(&file).len()), (1, 1));
    assert!(audit.write_to(Some(&directory.path().join("no/such"))).await.is_err());

    // What the database does not take is at least there.
    store.close().await;
    audit.record("alice", "login.failed", "alice", None);
    audit.flush().await;
    let last = lines(&file).remove(1);
    assert_eq!((&last["action"], &last["hash"]), (&"login.failed".into(), &serde_json::Value::Null));
    assert_eq!(audit.metrics.audit_lost.get(), 1);
}
