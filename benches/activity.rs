//! What the activity of a month costs (`make bench-activity`): ten million requests of a busy gateway go the way that they go in
//! it (queue, sums, upserts), and then reports are read as the dashboard reads them. On SQLite and on a PostgreSQL of its own,
//! with fsync. PostgreSQL lies in the directory for temporary files: where that is in memory, `TMPDIR` has to name another one.
//!
//! `PORTCULLIS_REQUESTS` names another number of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub)]
mod postgres;

mod common;

use common::parties::{Dice, token, upstream};
use portcullis::activity::{Activity, EndedRequest, Party, Range, Subject};
use portcullis::clock::{Clock, Timestamp};
use portcullis::ids::Random;
use portcullis::store::Store;
use portcullis::telemetry::Fate;
use portcullis::tokens::AccessToken;
use portcullis::upstream::Upstream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REQUESTS: u64 = 10_000_000;
const PEOPLE: usize = 200;
const CLIENTS: usize = 5;
const UPSTREAMS: usize = 25;
const TOOLS: usize = 30;
/// How many upstreams a person uses, and tools of each.
const USED: (usize, usize) = (6, 10);
/// How many requests are pushed before they are waited for: fewer than the queue holds.
const SOME: u64 = 10_000;
/// How often each report is read; the median and the worst count.
const READINGS: usize = 21;

#[tokio::main]
async fn main() {
    #[allow(clippy::disallowed_methods)] // a bench has no configuration
    let requests = std::env::var("PORTCULLIS_REQUESTS").map_or(REQUESTS, |count| count.parse().unwrap());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = format!("sqlite://{}/portcullis.db", directory.path().display());
    let cluster = postgres::Cluster::start(true);
    for (name, url) in [("SQLite", file), ("PostgreSQL", cluster.empty().await)] {
        let store = Store::open(&url).await.unwrap();
        let activity = Activity::new(store.clone(), Clock::system(), &Random::default());
        let begun = Instant::now();
        let pushing = fill(&activity, requests).await;
        let each = |duration: Duration| duration.as_secs_f64() * 1e6 / requests as f64;
        println!(
            "{name}: {requests} requests; {:.2} µs each to push, {:.1} µs to add up and write",
            each(pushing),
            each(begun.elapsed())
        );
        activity.sweep().await.unwrap();
        for range in Range::ALL {
            for (what, subject) in subjects() {
                read(name, &activity, range, what, &subject).await;
            }
        }
        store.close().await;
    }
}

/// A month's requests, one after the other; the time that callers spent on recording them.
async fn fill(activity: &Activity, requests: u64) -> Duration {
    let (recorder, world, now) = (activity.recorder(), World::new(), Clock::system().now().0);
    let mut pushing = Duration::ZERO;
    let mut dice = Dice(42);
    for first in (0..requests).step_by(usize::try_from(SOME).unwrap()) {
        let some: Vec<_> = (first..requests.min(first + SOME))
            .map(|number| {
                // Oldest first. Steps of minutes and quarters that are over would be swept: they are not made.
                let age = i64::try_from(30 * 86_400 * u128::from(requests - number) / u128::from(requests)).unwrap();
                let step = [(3600, 60), (86_400, 900)].into_iter().find(|(until, _)| age < *until);
                let step = step.map_or(21_600, |(_, step)| step);
                world.request(&mut dice, Timestamp((now - age).div_euclid(step) * step))
            })
            .collect();
        let begun = Instant::now();
        for request in some {
            recorder.ended(request);
        }
        pushing += begun.elapsed();
        activity.flush().await;
    }
    pushing
}

fn subjects() -> [(&'static str, Subject); 5] {
    let (person, upstream) = (Some("person-3".to_owned()), Some("server-2.example".to_owned()));
    [
        ("everything", Subject::default()),
        ("a person", Subject { person: person.clone(), ..Subject::default() }),
        ("an upstream", Subject { upstream: upstream.clone(), ..Subject::default() }),
        ("a client", Subject { client: Some("client-3-1".to_owned()), ..Subject::default() }),
        ("a tool", Subject { upstream, tool: Some("tool-2-4".to_owned()), ..Subject::default() }),
    ]
}

async fn read(name: &str, activity: &Activity, range: Range, what: &str, subject: &Subject) {
    let mut times = Vec::new();
    let mut requests = 0;
    for _ in 0..READINGS {
        let begun = Instant::now();
        requests = activity.report(range, subject).await.unwrap().sum.requests;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times[READINGS / 2], times[READINGS - 1]);
    println!("{name}, {range:?} of {what} ({requests} requests): {median:.1} ms, {worst:.1} ms at worst");
}

struct World {
    /// By person and client.
    tokens: Vec<Vec<Arc<AccessToken>>>,
    upstreams: Vec<Arc<Upstream>>,
    tools: Vec<Vec<Arc<str>>>,
}

impl World {
    fn new() -> Self {
        let tools = |upstream| (0..TOOLS).map(|tool| format!("tool-{upstream}-{tool}").into()).collect();
        Self {
            tokens: (0..PEOPLE)
                .map(|person| (0..CLIENTS).map(|client| token(person, &format!("client-{person}-{client}"))).collect())
                .collect(),
            upstreams: (0..UPSTREAMS).map(upstream).collect(),
            tools: (0..UPSTREAMS).map(tools).collect(),
        }
    }

    /// Few people, upstreams and tools have most of them.
    fn request(&self, dice: &mut Dice, at: Timestamp) -> EndedRequest {
        let (person, client) = (dice.skewed(PEOPLE), dice.skewed(CLIENTS));
        let upstream = (7 * person + dice.skewed(USED.0)) % UPSTREAMS;
        let tool = (11 * person + dice.skewed(USED.1)) % TOOLS;
        let calls = dice.below(4) > 0;
        EndedRequest {
            at,
            party: Party {
                token: self.tokens[person][client].clone(),
                upstream: Some(self.upstreams[upstream].clone()),
                tool: calls.then(|| self.tools[upstream][tool].clone()),
            },
            fate: if dice.below(100) == 0 { Fate::Failed } else { Fate::Answered },
            status: Some(200),
            took: Some(Duration::from_millis(u64::try_from(3 + dice.skewed(2000)).unwrap())),
        }
    }
}
