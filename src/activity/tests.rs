use super::*;
use crate::clock::Clock;
use crate::config::UpstreamAuth;
use crate::hostname::Authority;
use crate::ids::UserId;
use crate::telemetry::Fate;
use crate::tokens::{AccessToken, Terms};
use crate::upstream::{Access, Standing, Upstream};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::sync::Arc;

struct World {
    store: Store,
    clock: Clock,
    activity: Activity,
}

impl World {
    async fn new() -> Self {
        Self::on(Store::open("sqlite::memory:").await.unwrap(), Clock::standing())
    }

    fn on(store: Store, clock: Clock) -> Self {
        let activity = Activity::new(store.clone(), clock.clone(), &Random::default());
        Self { store, clock, activity }
    }

    /// A request of somebody that took so many milliseconds.
    fn calls(&self, person: &str, upstream: &str, tool: &str, took: u64) -> EndedRequest {
        EndedRequest {
            at: self.clock.now(),
            party: Party {
                token: token(person),
                upstream: Some(known(upstream)),
                tool: Some(tool.into()).filter(|tool: &Arc<str>| !tool.is_empty()),
            },
            fate: Fate::Answered,
            status: Some(200),
            took: Some(Duration::from_millis(took)),
        }
    }

    async fn report(&self, range: Range, subject: Subject) -> Report {
        self.activity.flush().await;
        self.activity.report(range, &subject).await.unwrap()
    }
}

fn token(person: &str) -> Arc<AccessToken> {
    let random = Random::default();
    let terms = Terms { client_id: "claude".into(), ..Terms::default() };
    Arc::new(AccessToken::new((UserId::random(&random), person), terms, Arc::default(), Timestamp(0)))
}

fn known(authority: &str) -> Arc<Upstream> {
    Arc::new(Upstream {
        authority: Authority::parse(authority).unwrap(),
        name: "Notes".to_owned(),
        alias: None,
        kind: Default::default(),
        path: None,
        auth: Arc::new(UpstreamAuth::None),
        allow_private: false,
        standing: Standing::Allowed,
        access: Access::Everybody,
        tools: None,
    })
}

fn of_person(name: &str) -> Subject {
    Subject { person: Some(name.to_owned()), ..Subject::default() }
}

fn of_upstream(authority: &str) -> Subject {
    Subject { upstream: Some(authority.to_owned()), ..Subject::default() }
}

#[tokio::test]
async fn a_report_tells_who_did_what() {
    let world = World::new().await;
    let recorder = world.activity.recorder();
    for (person, upstream, tool, took) in [
        ("ann", "notes.example", "get", 20),
        ("ann", "notes.example", "get", 30),
        ("ann", "mail.example", "send", 700),
        ("bob", "notes.example", "get", 20),
        ("bob", "notes.example", "", 20),
    ] {
        recorder.ended(world.calls(person, upstream, tool, took));
    }
    let refused = EndedRequest { fate: Fate::Refused, ..world.calls("bob", "notes.example", "drop", 1) };
    recorder.ended(refused);
    recorder.ended(EndedRequest { status: Some(502), ..world.calls("bob", "notes.example", "get", 90_000) });
    recorder.ended(EndedRequest { took: None, ..world.calls("bob", "mail.example", "", 0) });

    for range in Range::ALL {
        let all = world.report(range, Subject::default()).await;
        assert_eq!(all.points.len(), range.steps());
        assert_eq!(all.sum, *all.points.last().unwrap());
        let Point { requests, errors, refused, p50_ms, p99_ms, .. } = all.sum;
        assert_eq!((requests, errors, refused), (8, 1, 1));
        assert_eq!((p50_ms, p99_ms), (Some(25), Some(60_000)), "neither the stream nor the refusal is among them");
        let names = |shares: &[Share]| -> Vec<(String, u64)> {
            shares.iter().map(|share| (share.name.clone(), share.sum.requests)).collect()
        };
        assert_eq!(names(&all.upstreams), [("notes.example".to_owned(), 6), ("mail.example".to_owned(), 2)]);
        assert_eq!(names(&all.people), [("bob".to_owned(), 5), ("ann".to_owned(), 3)]);
        assert_eq!(names(&all.clients), [("claude".to_owned(), 8)]);
        let tools = [("get".to_owned(), 4), ("drop".to_owned(), 1), ("send".to_owned(), 1)];
        assert_eq!(names(&all.tools), tools);
        assert_eq!(all.tools[2].upstream.as_deref(), Some("mail.example"));
        assert_eq!(all.upstreams[0].upstream, None);

        let ann = world.report(range, of_person("ann")).await;
        assert_eq!((ann.sum.requests, ann.people.len()), (3, 0));
        assert_eq!(names(&ann.upstreams), [("notes.example".to_owned(), 2), ("mail.example".to_owned(), 1)]);
        assert_eq!(names(&ann.tools), [("get".to_owned(), 2), ("send".to_owned(), 1)]);
        let notes = world.report(range, of_upstream("notes.example")).await;
        assert_eq!(names(&notes.people), [("bob".to_owned(), 4), ("ann".to_owned(), 2)]);
        assert_eq!((notes.sum.requests, notes.clients.len()), (6, 0));
        let get = Subject { tool: Some("get".to_owned()), ..of_upstream("notes.example") };
        let get = world.report(range, get).await;
        assert_eq!((get.sum.requests, get.sum.errors), (4, 1));
        assert_eq!(names(&get.people), [("ann".to_owned(), 2), ("bob".to_owned(), 2)]);
        let anywhere = Subject { tool: Some("get".to_owned()), ..Subject::default() };
        assert_eq!(world.report(range, anywhere).await.sum.requests, 4);
        let neither = Subject { client: Some("claude".to_owned()), ..of_upstream("notes.example") };
        assert_eq!(world.report(range, neither).await.sum, Point::default());
        assert_eq!(world.report(range, of_person("carol")).await.sum, Point::default());
    }
}

#[tokio::test]
async fn what_crosses_midnight_counts_where_it_ended_and_ages() {
    let world = World::new().await;
    // A minute before midnight.
    let now = world.clock.now().0;
    let to_midnight = 86_400 - now.rem_euclid(86_400);
    world.clock.advance(Duration::from_secs(u64::try_from(to_midnight + 86_400 - 60).unwrap()));
    let before = world.calls("ann", "notes.example", "get", 5);
    world.clock.advance(Duration::from_secs(60));
    // Both are pushed after midnight; a step is where a request ended.
    world.activity.recorder().ended(before);
    world.activity.recorder().ended(world.calls("ann", "notes.example", "get", 5));
    for range in Range::ALL {
        let report = world.report(range, Subject::default()).await;
        assert_eq!(report.begin.0.rem_euclid(range.resolution()), 0);
        let [.., earlier, last] = &report.points[..] else { panic!() };
        assert_eq!((earlier.requests, last.requests), (1, 1), "{range:?}");
    }
    // An hour and a minute later it is in no minute of the last hour, but in the day.
    world.clock.advance(Duration::from_secs(61 * 60));
    assert_eq!(world.report(Range::Hour, Subject::default()).await.sum, Point::default());
    assert_eq!(world.report(Range::Day, Subject::default()).await.sum.requests, 2);
    // The edge of what is shown: 96 quarters with the present one.
    world.clock.advance(Duration::from_secs(86_400 - 61 * 60 - 60));
    assert_eq!(world.report(Range::Day, Subject::default()).await.sum.requests, 1);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.report(Range::Day, Subject::default()).await.sum.requests, 0);
    assert_eq!(world.report(Range::Month, Subject::default()).await.sum.requests, 2);
}

#[tokio::test]
async fn what_nobody_looks_back_to_is_forgotten() {
    let world = World::new().await;
    world.activity.recorder().ended(world.calls("ann", "notes.example", "get", 5));
    world.activity.flush().await;
    let kept = async |range: Range| {
        // As if it were then.
        let span = crate::store::ActivitySpan {
            resolution: range.resolution(),
            begin: slices::step_of(Clock::standing().now().before(range.step()), range.resolution()),
            steps: 3,
        };
        world.store.activity_points(&span, &Default::default()).await.unwrap().len()
    };
    for (range, seen) in [(Range::Hour, 3600), (Range::Day, 86_400), (Range::Month, 30 * 86_400)] {
        world.activity.sweep().await.unwrap();
        assert_eq!(kept(range).await, 1, "{range:?}");
        let moved = world.clock.now().since(Clock::standing().now());
        world.clock.advance(Duration::from_secs(seen).saturating_sub(moved));
        world.activity.sweep().await.unwrap();
        assert_eq!(kept(range).await, 1, "{range:?}");
        world.clock.advance(range.kept() - Duration::from_secs(seen) + 2 * range.step());
        world.activity.sweep().await.unwrap();
        assert_eq!(kept(range).await, 0, "{range:?}");
    }
}

#[tokio::test]
async fn streams_are_counted_while_they_are_open_at_all_nodes() {
    let world = World::new().await;
    let other = World::on(world.store.clone(), world.clock.clone());
    let (ann, bob, notes) = (token("ann"), token("bob"), known("notes.example"));
    let first = world.activity.recorder().opened(&ann, Some(&notes));
    let _everything = world.activity.recorder().opened(&ann, None);
    let second = other.activity.recorder().opened(&bob, Some(&notes));
    other.activity.flush().await;
    let now = async |subject: Subject| world.report(Range::Hour, subject).await.streams_now;
    assert_eq!(now(Subject::default()).await, 3);
    assert_eq!(now(of_person("ann")).await, 2);
    assert_eq!(now(of_upstream("notes.example")).await, 2);
    drop(first);
    assert_eq!(now(Subject::default()).await, 2);
    let report = world.report(Range::Day, Subject::default()).await;
    assert_eq!(report.sum.streams, 3, "the most at once, at both nodes");
    assert_eq!(world.report(Range::Day, of_person("ann")).await.sum.streams, 2);
    // A node that ends takes its streams along.
    drop(second);
    other.activity.flush().await;
    assert_eq!(now(Subject::default()).await, 1);
}

#[tokio::test]
async fn what_is_counted_is_written_though_nobody_asks() {
    let world = World::new().await;
    world.activity.recorder().ended(world.calls("ann", "notes.example", "get", 5));
    let written = async {
        while world.activity.report(Range::Hour, &Subject::default()).await.unwrap().sum.requests == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // A crash loses what came in since then.
    tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_found_the_queue_full_does_not_stay_open() {
    let world = World::new().await;
    let recorder = world.activity.recorder();
    let one = world.calls("ann", "notes.example", "get", 1);
    // The counter does not run before this task yields.
    for _ in 0..20_000 {
        let (party, fate, status, took) = (one.party.clone(), one.fate, one.status, one.took);
        recorder.ended(EndedRequest { at: one.at, party, fate, status, took });
    }
    drop(recorder.opened(&token("ann"), None));
    let report = world.report(Range::Hour, Subject::default()).await;
    assert_eq!((report.sum.requests, report.streams_now), (16_384, 0));
}

#[tokio::test]
async fn a_refresh_counts_for_the_person_by_name() {
    let world = World::new().await;
    let user = crate::store::User {
        id: UserId::random(&Random::default()),
        name: "ann".to_owned(),
        password_hash: None,
        email: None,
        role: crate::store::Role::Member,
        disabled: false,
        created_at: Timestamp(0),
    };
    world.store.create_user(&user).await.unwrap();
    world.activity.recorder().refreshed(world.clock.now(), user.id, "notes.example");
    for subject in [Subject::default(), of_person("ann"), of_upstream("notes.example")] {
        let report = world.report(Range::Hour, subject).await;
        assert_eq!((report.sum.refreshes, report.sum.requests), (1, 0));
    }
}

#[tokio::test]
async fn what_the_database_does_not_take_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("activity.db");
    let world = World::on(Store::open(&format!("sqlite://{}", file.display())).await.unwrap(), Clock::standing());
    let renamed = async |sql: &'static str| {
        let mut other = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    };
    renamed("ALTER TABLE activity RENAME TO away").await;
    world.activity.recorder().ended(world.calls("ann", "notes.example", "get", 5));
    world.activity.flush().await;
    renamed("ALTER TABLE away RENAME TO activity").await;
    world.activity.recorder().ended(world.calls("ann", "notes.example", "get", 5));
    assert_eq!(world.report(Range::Hour, Subject::default()).await.sum.requests, 2);
}
