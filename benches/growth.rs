//! What many upstreams, live tokens and people cost (`make bench-growth`): the steps of a request that look something up, in
//! process and in random order, so that the processor's caches miss as they would; memory of each; the time to load. What is
//! compared is in one run, in interleaved rounds; only the ratios mean something.
//!
//! `cargo bench --bench growth -- 100000` takes so many tokens and people instead of a million.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

mod common;

use common::Bench;
use data_encoding::BASE64URL_NOPAD;
use futures_util::FutureExt as _;
use portcullis::app::App;
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::{Source, UpstreamAuth, UpstreamConfig, load};
use portcullis::connect::ConnectionKey;
use portcullis::hostname::{Authority, HostName, Label};
use portcullis::ids::{GrantId, Random, UserId};
use portcullis::store::{Role, Store, User};
use portcullis::tokens::NewToken;
use portcullis::upstream::{Destination, Destinations, Registry};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// That of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const UPSTREAMS: usize = 100_000;
const PEOPLE: usize = 1_000_000;
/// Longer than the allocator keeps what nobody uses.
const SETTLING: Duration = Duration::from_secs(12);
const ROUNDS: usize = 7;
const BATCHES: usize = 1500;
const BATCH: usize = 64;

fn main() {
    let people = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(PEOPLE);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    runtime.block_on(loading(directory.path()));
    let build = Bench::with(directory.path(), 9, |config| config.upstream.extend((0..UPSTREAMS).map(configured)));
    let bench = runtime.block_on(build);
    upstreams(&bench.app);
    first_verifications(&bench);
    crowd(&bench, people);
}

/// Upstreams that administrators have approved, from the database into memory.
async fn loading(directory: &Path) {
    let config = load(&Source { file: None, environment: BTreeMap::new() }).ok().unwrap();
    let site = portcullis::hostname::Site::new("gw.example", portcullis::hostname::Scheme::Https, 443);
    println!("| approved upstreams | load, median of {ROUNDS} | memory | each |\n|---|---|---|---|");
    for count in [10, 1_000, UPSTREAMS] {
        let url = format!("sqlite://{}", directory.join(format!("{count}.db")).display());
        let store = Store::open(&url).await.unwrap();
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let row = |number: usize| format!("('{}', 'approved', 'alias-{number}', 0)", authority(number));
        let rows: Vec<String> = (0..count).map(row).collect();
        connection.execute("BEGIN").await.unwrap();
        for rows in rows.chunks(500) {
            let insert =
                format!("INSERT INTO upstreams (authority, decision, alias, decided_at) VALUES {}", rows.join(","));
            connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
        }
        connection.execute("COMMIT").await.unwrap();
        drop(rows);
        let empty =
            Registry::new(&config.upstreams, Vec::new(), site.clone(), Store::open("sqlite::memory:").await.unwrap());
        drop(empty.await.unwrap());
        tokio::time::sleep(SETTLING).await;
        let before = resident();
        let registry = Registry::new(&config.upstreams, Vec::new(), site.clone(), store).await.unwrap();
        tokio::time::sleep(SETTLING).await;
        let memory = resident() - before;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            registry.reload().await.unwrap();
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        println!("| {count} | {:.1} ms | {:.1} MB | {:.0} B |", median(times), memory / 1e6, memory / count as f64);
    }
    println!();
}

/// The steps that depend on which upstream it is.
fn upstreams(app: &Arc<App>) {
    let counts = [10, 1_000, UPSTREAMS];
    let hosts: Vec<String> = (0..UPSTREAMS).map(|number| host(app, number)).collect();
    let destinations = Destinations::new(app.site.clone(), app.registry.clone(), app.health.clone());
    let before = settled();
    hosts.iter().for_each(|host| drop(route(&destinations, host)));
    let routed = settled();
    println!("in use, an upstream takes {:.0} B more\n", (routed - before) / UPSTREAMS as f64);
    let user = UserId::random(&Random::default());
    let limits = app.limits();
    let host = |number: usize| hosts[number].clone();
    let find = |host: &String| drop(black_box(route(&destinations, host)));
    let count = |host: &String| {
        let destination = route(&destinations, host);
        assert!(destination.upstream.access.admits(user));
        limits.check_user_upstream(user, &destination.upstream.authority).unwrap();
        drop(destination.health.begin().ok().unwrap());
    };
    let all = |host: &String| {
        count(host);
        credential(app, user, route(&destinations, host).upstream.authority.clone());
    };
    hosts.iter().for_each(all);
    println!("credentials of one person at all of them: {:.0} B each\n", (settled() - routed) / UPSTREAMS as f64);
    println!("| ns a request, upstreams | 10 | 1,000 | 100,000 | 100,000 more than 10 |\n|---|---|---|---|---|");
    print_row("route", counts.map(|n| Run::new(n, &host, &find)));
    print_row("route twice, permission, limit, health, credential", counts.map(|n| Run::new(n, &host, &all)));
    println!();
}

fn route(destinations: &Destinations, host: &str) -> Arc<Destination> {
    if let Some(known) = destinations.remembered(host) {
        return known;
    }
    let HostName::Mcp(label) = destinations.site().classify(host) else { panic!("{host} is not ours") };
    destinations.of(label).unwrap()
}

/// What is injected, which waits for nothing with a header from the configuration.
fn credential(app: &Arc<App>, user: UserId, authority: Authority) {
    let key = ConnectionKey::upstream(user, authority, None);
    let found = app.connections.cached(&key);
    drop(black_box(found.or_else(|| app.connections.credential(&key).now_or_never()?.ok()).unwrap()));
}

/// Tokens that were never seen before, beside nothing but their signature.
fn first_verifications(bench: &Bench) {
    let jwk = &bench.app.tokens.jwks()["keys"][0];
    let part = |name: &str| BASE64URL_NOPAD.decode(jwk[name].as_str().unwrap().as_bytes()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5_000 {
        let token = bench.token();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        let started = Instant::now();
        key.verify(message.as_bytes(), &signature).unwrap();
        let between = Instant::now();
        black_box(bench.app.tokens.verify(&token).unwrap());
        ours.push(between.elapsed().as_secs_f64() * 1e6);
        bare.push((between - started).as_secs_f64() * 1e6);
    }
    println!("a token seen for the first time: {:.1} µs, its signature alone {:.1} µs\n", median(ours), median(bare));
}

/// As many people as there are tokens, each with one.
fn crowd(bench: &Bench, people: usize) {
    let app = &bench.app;
    let tokens: Vec<(Box<str>, UserId)> = (0..people).map(|number| token(bench, number)).collect();
    let before = settled();
    let started = Instant::now();
    tokens.iter().for_each(|(token, _)| drop(black_box(app.tokens.verify(token).unwrap())));
    let verified = started.elapsed();
    let after = settled();
    println!(
        "{people} live tokens of as many people: {:.0} B each ({verified:.0?} to verify them)",
        (after - before) / people as f64
    );
    let limits = app.limits();
    let serve = |user: UserId| {
        limits.check_user(user).unwrap();
        limits.check_user_upstream(user, &bench.authority).unwrap();
        limits.check_client("bench").unwrap();
        credential(app, user, bench.authority.clone());
    };
    tokens.iter().for_each(|(_, user)| serve(*user));
    println!("each person with limits and a credential: {:.0} B\n", (settled() - after) / people as f64);
    let counts = [1, people.min(1_000), people];
    let [few, all] = [counts[1], counts[2]];
    println!("| ns a request, tokens and people | 1 | {few} | {all} | {all} more than 1 |\n|---|---|---|---|---|");
    let shown = |number: usize| tokens[number].0.to_string();
    let verify = |token: &String| drop(black_box(app.tokens.verify(token).unwrap()));
    let both = |token: &String| serve(app.tokens.verify(token).unwrap().user);
    let whose = |number: usize| tokens[number].1;
    let person = |user: &UserId| serve(*user);
    print_row("token from memory", counts.map(|n| Run::new(n, &shown, &verify)));
    print_row("limits, credential", counts.map(|n| Run::new(n, &whose, &person)));
    print_row("all", counts.map(|n| Run::new(n, &shown, &both)));
}

fn token(bench: &Bench, number: usize) -> (Box<str>, UserId) {
    let random = Random::default();
    let user = User {
        id: UserId::random(&random),
        name: format!("person-{number}"),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: Timestamp(0),
    };
    let issuer = bench.app.site.origin_of(&bench.label());
    let new = NewToken {
        issuer: &issuer,
        resource: &format!("{issuer}/mcp"),
        user: &user,
        client_id: "bench",
        scope: "",
        grant: GrantId::random(&random),
        ttl: Duration::from_secs(24 * 3600),
        actor: None,
        confirmation: None,
    };
    (bench.app.tokens.mint(&new).unwrap().into(), user.id)
}

/// A step, with inputs chosen at random among the first so many.
struct Run<'a> {
    step: Box<dyn Fn() -> f64 + 'a>,
}

impl<'a> Run<'a> {
    /// The inputs of a batch are made first: a request brings its own, in the processor's caches.
    fn new<T>(among: usize, input: &'a impl Fn(usize) -> T, step: &'a impl Fn(&T)) -> Self {
        let step = move || {
            let mut dice = Dice(Clock::system().unix_nanos() | 1);
            let batch = |_| {
                let inputs: Vec<T> = (0..BATCH).map(|_| input(dice.below(among))).collect();
                let started = Instant::now();
                inputs.iter().for_each(step);
                started.elapsed().as_secs_f64() * 1e9 / BATCH as f64
            };
            median((0..BATCHES).map(batch).collect())
        };
        Self { step: Box::new(step) }
    }
}

/// Runs in turns, and the median of each.
fn print_row(name: &str, runs: [Run<'_>; 3]) {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        runs.iter().zip(&mut times).for_each(|(run, times)| times.push((run.step)()));
    }
    let [few, some, many] = times.map(median);
    println!("| {name} | {few:.0} | {some:.0} | {many:.0} | {:.0} ns |", many - few);
}

/// Numbers that nobody guesses are not wanted here (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * bound as u128) >> 64) as usize
    }
}

fn configured(number: usize) -> UpstreamConfig {
    UpstreamConfig {
        kind: Default::default(),
        authority: Authority::parse(&authority(number)).unwrap(),
        name: None,
        alias: None,
        path: None,
        auth: UpstreamAuth::None,
        allow_private: Some(true),
        tools: None,
        allowed: None,
    }
}

fn authority(number: usize) -> String {
    format!("mcp{number}.example.com")
}

fn host(app: &App, number: usize) -> String {
    let label = Label::encode(&Authority::parse(&authority(number)).unwrap()).unwrap();
    app.site.origin_of(&label).split_once("://").unwrap().1.to_owned()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Resident memory in bytes, after the allocator had the time to give back what nobody uses.
fn settled() -> f64 {
    std::thread::sleep(SETTLING);
    resident()
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}
