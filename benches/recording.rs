//! What recording a request costs (`make bench-recording`): calls of tools go through [`Audit::request`] as the data path sends them,
//! at a steady rate and then as fast as they can be written, into the audit log and the activity of a SQLite file and of a
//! PostgreSQL of its own, with fsync. CPU is that of the whole process, less what making the requests costs. PostgreSQL lies in the
//! directory for temporary files: where that is in memory, `TMPDIR` has to name another one.
//!
//! `PORTCULLIS_RATES` names other rates, in requests per second (`10000,40000`), `PORTCULLIS_SECONDS` how long each is kept up, and
//! `PORTCULLIS_STORE` one of `sqlite` and `postgres`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub)]
mod postgres;

mod common;

use common::parties::{Dice, token, upstream};
use portcullis::activity::Activity;
use portcullis::audit::{Audit, Fate, UpstreamRequest};
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::AuditedRequests;
use portcullis::ids::Random;
use portcullis::mcp::Method;
use portcullis::store::Store;
use portcullis::telemetry::Metrics;
use portcullis::tokens::AccessToken;
use portcullis::upstream::Upstream;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that send requests, as the data path has workers.
const WORKERS: usize = 2;
/// How often each worker sends what the rate asks for.
const TICK: Duration = Duration::from_millis(2);
const UPSTREAMS: usize = 25;
const TOOLS: usize = 30;

#[tokio::main]
async fn main() {
    let rates = setting("PORTCULLIS_RATES").unwrap_or_else(|| "10000,40000".to_owned());
    let rates: Vec<u64> = rates.split(',').map(|rate| rate.parse().expect("numbers with commas")).collect();
    let seconds = setting("PORTCULLIS_SECONDS").map_or(10, |seconds| seconds.parse().expect("a number"));
    let wanted = setting("PORTCULLIS_STORE");
    println!("one request takes {} bytes while it waits, and its name", size_of::<UpstreamRequest>());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for people in [1, 200] {
        if wanted.as_deref() != Some("postgres") {
            let file = format!("sqlite://{}/{people}.db", directory.path().display());
            measure("SQLite", &file, people, &rates, seconds).await;
        }
        if wanted.as_deref() != Some("sqlite") {
            let cluster = postgres::Cluster::start(true);
            measure("PostgreSQL", &cluster.empty().await, people, &rates, seconds).await;
        }
    }
}

async fn measure(name: &str, url: &str, people: usize, rates: &[u64], seconds: u64) {
    let store = Store::open(url).await.unwrap();
    let mut written = 0;
    for rate in rates.iter().map(|rate| Some(*rate)).chain([None]) {
        let run = Run::of(&store, people, rate, rate.map_or(400_000, |rate| rate * seconds)).await;
        let verdict = store.verify_audit(None).await.unwrap();
        assert_eq!(verdict.broken, None);
        let rows = verdict.lines - std::mem::replace(&mut written, verdict.lines);
        let rate = rate.map_or("as fast as written".to_owned(), |rate| format!("{rate}/s"));
        println!(
            "{name}, {people} people, {rate}: {} requests, {rows} rows, {} lost, {:.0} rows/s; CPU s per 100,000 requests {:.3}, of it \
             callers {:.3}; per 100,000 rows {:.3}",
            run.requests,
            run.lost,
            rows as f64 / run.took.as_secs_f64(),
            run.cpu * 1e5 / run.requests as f64,
            run.callers * 1e5 / run.requests as f64,
            run.cpu * 1e5 / rows as f64,
        );
    }
    store.close().await;
}

/// What one load cost, in seconds of CPU without what it costs to make requests.
struct Run {
    requests: u64,
    lost: u64,
    took: Duration,
    cpu: f64,
    callers: f64,
}

impl Run {
    /// So many requests in all, at a rate; without one whenever earlier ones are written.
    async fn of(store: &Store, people: usize, rate: Option<u64>, requests: u64) -> Self {
        let metrics = Arc::<Metrics>::default();
        let activity = Activity::new(store.clone(), Clock::system(), &Random::default());
        let audit = Audit::new(store.clone(), Clock::system(), metrics.clone(), AuditedRequests::Calls);
        let audit = audit.counted_by(activity.recorder().clone());
        let world = Arc::new(World::new(people));
        let making = Self::making(&world, requests);
        let (begun, before) = (Instant::now(), cpu(ClockId::ProcessCPUTime));
        let callers = match rate {
            Some(rate) => {
                let workers: Vec<_> = (0..WORKERS)
                    .map(|worker| {
                        let (audit, world) = (audit.clone(), world.clone());
                        let share = requests / WORKERS as u64;
                        std::thread::spawn(move || paced(&audit, &world, worker as u64, share, rate / WORKERS as u64))
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            }
            None => in_turn(&audit, &world, requests).await,
        };
        audit.flush().await;
        let took = begun.elapsed();
        activity.flush().await;
        let cpu = cpu(ClockId::ProcessCPUTime) - before - making;
        Self { requests, lost: metrics.audit_lost.get(), took, cpu, callers: callers - making }
    }

    fn making(world: &World, requests: u64) -> f64 {
        let (mut dice, before) = (Dice(42), cpu(ClockId::ThreadCPUTime));
        for _ in 0..requests {
            std::hint::black_box(world.request(&mut dice));
        }
        cpu(ClockId::ThreadCPUTime) - before
    }
}

/// A worker at its rate; the CPU that it took.
fn paced(audit: &Audit, world: &World, seed: u64, requests: u64, rate: u64) -> f64 {
    let (mut dice, begun, mut sent) = (Dice(seed), Instant::now(), 0);
    let before = cpu(ClockId::ThreadCPUTime);
    while sent < requests {
        let due = u64::try_from(begun.elapsed().as_micros() * u128::from(rate) / 1_000_000).unwrap().min(requests);
        for _ in sent..due {
            audit.request(world.request(&mut dice));
        }
        sent = due;
        std::thread::sleep(TICK);
    }
    cpu(ClockId::ThreadCPUTime) - before
}

/// Some at a time, each when the one before is written.
async fn in_turn(audit: &Audit, world: &World, requests: u64) -> f64 {
    const SOME: u64 = 4000;
    let (mut dice, mut callers) = (Dice(7), 0.0);
    for _ in 0..requests / SOME {
        let before = cpu(ClockId::ThreadCPUTime);
        for _ in 0..SOME {
            audit.request(world.request(&mut dice));
        }
        callers += cpu(ClockId::ThreadCPUTime) - before;
        audit.flush().await;
    }
    callers
}

#[allow(clippy::cast_precision_loss)] // far below
fn cpu(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn setting(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods)] // a bench has no configuration
    std::env::var(name).ok()
}

struct World {
    tokens: Vec<Arc<AccessToken>>,
    upstreams: Vec<Arc<Upstream>>,
    tools: Vec<String>,
}

impl World {
    fn new(people: usize) -> Self {
        Self {
            tokens: (0..people)
                .map(|person| token(person, &format!("https://claude.example/oauth/client-{person}.json")))
                .collect(),
            upstreams: (0..UPSTREAMS.min(people)).map(upstream).collect(),
            tools: (0..TOOLS).map(|tool| format!("tool_number_{tool}")).collect(),
        }
    }

    /// As it comes out of the data path: with a name that was just read.
    fn request(&self, dice: &mut Dice) -> UpstreamRequest {
        UpstreamRequest {
            at: Timestamp(0),
            token: self.tokens[dice.below(self.tokens.len())].clone(),
            upstream: self.upstreams[dice.below(self.upstreams.len())].clone(),
            address: [192, 0, 2, 1].into(),
            method: Method::TOOLS_CALL,
            name: Some(self.tools[dice.below(TOOLS)].as_str().into()),
            calls_a_tool: true,
            listens: false,
            fate: Fate::Answered,
            status: Some(200),
            took: Duration::from_micros(u64::try_from(800 + dice.below(30_000)).unwrap()),
        }
    }
}
