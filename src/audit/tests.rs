use super::*;
use crate::clock::Timestamp;
use crate::config::UpstreamAuth;
use crate::hostname::Authority;
use crate::ids::{Random, UserId};
use crate::mcp::Method;
use crate::tokens::{AccessToken, Terms};
use crate::upstream::{Access, Standing, Upstream};
use std::time::Duration;

async fn audit(wanted: AuditedRequests) -> (Store, Audit) {
    audit_at(Clock::standing(), wanted).await
}

async fn audit_at(clock: Clock, wanted: AuditedRequests) -> (Store, Audit) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let audit = Audit::new(store.clone(), clock, Arc::default(), wanted);
    (store, audit)
}

fn request(method: &str, name: Option<&str>, fate: Fate) -> UpstreamRequest {
    let random = Random::default();
    let terms = Terms { client_id: "claude".into(), ..Terms::default() };
    let token = AccessToken::new((UserId::random(&random), "alice"), terms, Arc::default(), Timestamp(0));
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
    // Nobody takes them before this task yields, and one thread has one part.
    for _ in 0..2 * waiting::ROOM {
        audit.request(copy(&one));
    }
    audit.record("alice", "login.succeeded", "alice", None);
    for _ in 0..2 * EVENTS {
        audit.record("system", "test.flood", "", None);
    }
    audit.flush().await;
    let events = store.audit(u32::MAX).await.unwrap();
    assert_eq!(events.len(), waiting::ROOM + EVENTS);
    assert!(events.iter().any(|event| event.action == "login.succeeded"));
    assert_eq!(audit.shared.metrics.audit_lost.get() as usize, waiting::ROOM + EVENTS + 1);
    assert_eq!(audit.shared.losses.told(), 0, "the loss was not told");
    assert_eq!(store.verify_audit(None).await.unwrap().broken, None);
}

#[test]
fn requests_of_many_threads_are_in_the_order_in_which_they_ended() {
    // A clock that never says the same twice; `take` puts them in its order whatever part each waited in.
    let (waiting, time) = (Waiting::new(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let one = request("tools/call", Some("get"), Fate::Answered);
                for _ in 0..1000 {
                    let nanos = time.fetch_add(1, Ordering::Relaxed);
                    assert!(waiting.push(Ended { nanos, is_wanted: true, request: copy(&one) }));
                }
            });
        }
    });
    let mut taken = Vec::new();
    waiting.take(&mut taken, &mut Vec::new());
    assert!(taken.iter().map(|ended| ended.nanos).eq(0..4000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_thread_are_written_in_their_order() {
    let clock = Clock::standing();
    let (store, audit) = audit_at(clock.clone(), AuditedRequests::Calls).await;
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let audit = audit.clone();
            std::thread::spawn(move || {
                let one = request("tools/call", Some("get"), Fate::Answered);
                for number in 0..1000_u32 {
                    let took = Duration::from_millis((thread * 10_000 + number).into());
                    audit.request(UpstreamRequest { took, ..copy(&one) });
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // What is later is behind, in whatever part it waited.
    clock.advance(Duration::from_secs(1));
    audit.request(request("tools/call", Some("last"), Fate::Answered));
    audit.flush().await;
    let mut events = store.audit(u32::MAX).await.unwrap();
    events.reverse();
    assert_eq!(events.len(), 4001);
    assert_eq!(events[4000].subject, "last");
    for thread in 0..4 {
        let numbers = events.iter().take(4000).filter_map(|event| event.duration_ms);
        let numbers: Vec<_> = numbers.filter(|number| number / 10_000 == thread).collect();
        assert!(numbers.is_sorted(), "of thread {thread}");
    }
    assert!(events.iter().map(|event| event.at).is_sorted());
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines, verdict.broken), (4001, None));
}

#[tokio::test]
async fn what_is_recorded_shows_within_a_second_though_nobody_asks() {
    let (store, audit) = audit(AuditedRequests::Calls).await;
    for expected in [1, 2] {
        let begun = std::time::Instant::now();
        audit.request(request("tools/call", Some("get"), Fate::Answered));
        while store.audit(10).await.unwrap().len() < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        // A machine that is busy may make anybody late; half of it is ours.
        assert!(collector::COMPANY <= Duration::from_millis(500));
    }
}

#[tokio::test]
async fn a_full_backlog_is_counted_and_room_comes_back() {
    let (waiting, metrics) = (Arc::new(Waiting::new()), Arc::<Metrics>::default());
    let losses = Arc::new(Losses { metrics: metrics.clone(), untold: AtomicU64::new(0) });
    let (collector, mut batches) = Collector::new(waiting.clone(), Arc::default(), losses);
    let (asking, asked) = mpsc::channel(1);
    let collecting = tokio::spawn(collector.run(asked));
    let send = async |count: usize| {
        for nanos in 0..count as u64 {
            let request = request("tools/call", Some(&"x".repeat(256)), Fate::Answered);
            assert!(waiting.push(Ended { nanos, is_wanted: true, request }));
        }
        let (done, collected) = oneshot::channel();
        asking.send(done).await.unwrap();
        collected.await.unwrap();
    };
    let fits = collector::BACKLOG / request("tools/call", Some(&"x".repeat(256)), Fate::Answered).size();
    let mut sent = 0;
    while sent <= fits {
        send(waiting::ROOM / 4).await;
        sent += waiting::ROOM / 4;
    }
    let kept: usize = std::iter::from_fn(|| batches.try_recv().ok()).map(|batch| batch.requests.len()).sum();
    assert_eq!((kept, metrics.audit_lost.get() as usize), (fits, sent - fits));
    send(1).await;
    assert_eq!(batches.try_recv().unwrap().requests.len(), 1, "what was written makes room");
    drop(asking);
    collecting.await.unwrap();
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
    assert_eq!(audit.shared.metrics.audit_lost.get(), 1);
}

#[tokio::test]
async fn a_database_that_is_gone_costs_lines_and_says_so() {
    let (store, audit) = audit(AuditedRequests::Calls).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    audit.write_to(Some(&file)).await.unwrap();
    for number in 0..100 {
        audit.request(request("tools/call", Some(&format!("tool-{number}")), Fate::Answered));
    }
    audit.flush().await;
    assert_eq!(store.verify_audit(None).await.unwrap().lines, 100);
    store.close().await;
    for number in 100..200 {
        audit.request(request("tools/call", Some(&format!("tool-{number}")), Fate::Answered));
    }
    audit.flush().await;
    assert_eq!(audit.shared.metrics.audit_lost.get(), 100);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 200, "what the database does not take is in the file");
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["subject"], format!("tool-{number}"));
        assert_eq!(line["hash"].is_null(), number >= 100);
    }
}

#[tokio::test]
async fn activity_counts_what_the_log_does_not_want_and_before_it_is_asked() {
    let (store, audit) = audit(AuditedRequests::None).await;
    let activity = crate::activity::Activity::new(store.clone(), Clock::standing(), &Random::default());
    let audit = audit.counted_by(activity.recorder().clone());
    for _ in 0..100 {
        audit.request(request("tools/call", Some("get"), Fate::Answered));
    }
    audit.request(request("tools/list", None, Fate::Failed));
    activity.flush().await;
    let report = activity.report(crate::activity::Range::Hour, &Default::default()).await.unwrap();
    assert_eq!((report.sum.requests, report.sum.errors), (101, 1));
    assert_eq!((report.tools.len(), report.tools[0].sum.requests), (1, 100));
    assert_eq!(store.audit(10).await.unwrap().len(), 0);
    // The counter ends with the last one who records, whatever the log still holds.
    drop(audit);
    audit_ends(&activity).await;
}

/// A flush after the log is gone is answered all the same.
async fn audit_ends(activity: &crate::activity::Activity) {
    tokio::time::timeout(Duration::from_secs(10), activity.flush()).await.unwrap();
}
