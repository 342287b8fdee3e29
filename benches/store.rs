//! What the database costs (`make bench-store`): refreshes of our own tokens per second, each of them on the disk before it
//! is answered, and the time to find one of a million connections. On SQLite and on a PostgreSQL of its own, with fsync.
//! PostgreSQL lies in the directory for temporary files: where that is in memory, `TMPDIR` has to name another one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub)]
mod postgres;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config::Tokens;
use portcullis::ids::{Digest, GrantId, Random, UserId};
use portcullis::store::{Grant, RefreshToken, Role, Store, Successor, User};
use portcullis::tokens::{AccessTokens, GrantLives, NewToken, SigningKeys};
use portcullis::vault::{Place, Vault};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each figure is measured.
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: [u32; 3] = [1_000, 100_000, 1_000_000];
const LOOK_UPS: u32 = 5_000;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("a write of 4 KiB and fdatasync: {:.2} ms (median of 200)", wait_for_disk(directory.path()));
    let file = format!("sqlite://{}/portcullis.db", directory.path().display());
    let cluster = postgres::Cluster::start(true);
    for (name, url) in [("SQLite", file), ("PostgreSQL", cluster.empty().await)] {
        let store = Store::open(&url).await.unwrap();
        let world = World::new(store.clone()).await;
        for callers in [1, 8, 64] {
            let (refreshes, cpu) = world.refreshes(callers).await;
            let (rate, each) = (f64::from(refreshes) / ROUND.as_secs_f64(), cpu / f64::from(refreshes));
            println!(
                "{name}, {callers} at once: {rate:.0} refreshes/s; {:.0} µs CPU of this process each, {:.0} per CPU second",
                each * 1e6,
                1.0 / each
            );
        }
        look_ups(name, &url, &store, world.user.id).await;
        store.close().await;
    }
}

struct World {
    store: Store,
    vault: Vault,
    tokens: AccessTokens,
    random: Random,
    clock: Clock,
    user: User,
}

impl World {
    async fn new(store: Store) -> Arc<Self> {
        let (clock, random) = (Clock::system(), Random::default());
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let config = tokens();
        let keys =
            SigningKeys::load(store.clone(), vault.clone(), clock.clone(), random.clone(), &config).await.unwrap();
        let lives = Arc::new(GrantLives::default());
        let tokens = AccessTokens::new(Arc::new(keys), lives, clock.clone(), random.clone());
        let user = User {
            id: UserId::random(&random),
            name: "alice".to_owned(),
            password_hash: None,
            email: None,
            role: Role::Member,
            disabled: false,
            created_at: clock.now(),
        };
        store.create_user(&user).await.unwrap();
        Arc::new(Self { store, vault, tokens, random, clock, user })
    }

    /// How many refreshes so many callers get in a round, and the processor time that it took.
    async fn refreshes(self: &Arc<Self>, callers: u32) -> (u32, f64) {
        let mut families = Vec::new();
        for _ in 0..callers {
            families.push(self.family().await);
        }
        let (end, before) = (Instant::now() + ROUND, cpu_seconds());
        let callers = families.into_iter().map(|mut token| {
            let world = self.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    token = world.refresh(&token).await;
                    count += 1;
                }
                count
            })
        });
        let mut count = 0;
        for caller in callers.collect::<Vec<_>>() {
            count += caller.await.unwrap();
        }
        (count, cpu_seconds() - before)
    }

    /// What the token endpoint does for `grant_type=refresh_token` once it has parsed the form.
    async fn refresh(&self, token: &str) -> String {
        let old = self.store.refresh_token(&Digest::of(token)).await.unwrap().unwrap();
        let grant = self.store.grant(old.grant).await.unwrap().unwrap();
        let renewed = self.random.token().to_string();
        let (row, person) = (old.grant.to_string(), self.user.id.to_string());
        let (table, column) = ("refresh_tokens", "successor_sealed");
        let place = Place { table, row: &row, column, person: &person, upstream: "" };
        let new = self.row(&renewed, grant.id);
        let sealed = self.vault.seal(&place, renewed.as_bytes());
        let successor = Successor { token: new.token, sealed, rotated_at: new.issued_at };
        assert!(self.store.rotate_refresh_token(&old.token, &successor, &new).await.unwrap());
        let access = NewToken {
            issuer: "https://label.gw.example",
            resource: &grant.resource,
            user: &self.user,
            client_id: &grant.client_id,
            scope: &grant.scope,
            grant: grant.id,
            ttl: Duration::from_secs(3600),
            actor: None,
            confirmation: None,
        };
        self.tokens.mint(&access).unwrap();
        renewed
    }

    async fn family(&self) -> String {
        let grant = Grant {
            id: GrantId::random(&self.random),
            user: self.user.id,
            client_id: "client".to_owned(),
            client_name: "Client".to_owned(),
            realm: "label".to_owned(),
            resource: "https://label.gw.example/mcp".to_owned(),
            scope: "read".to_owned(),
            created_at: self.clock.now(),
            revoked_at: None,
        };
        let token = self.random.token().to_string();
        self.store.insert_grant(&grant, None).await.unwrap();
        self.store.insert_refresh_token(&self.row(&token, grant.id)).await.unwrap();
        token
    }

    fn row(&self, token: &str, grant: GrantId) -> RefreshToken {
        let issued_at = self.clock.now();
        RefreshToken {
            token: Digest::of(token),
            grant,
            issued_at,
            expires_at: Timestamp(issued_at.0 + 30 * 86_400),
            successor: None,
            first_used_at: None,
            dpop_jkt: None,
        }
    }
}

/// `[tokens]` with its defaults.
fn tokens() -> Tokens {
    let source = portcullis::config::Source { file: None, environment: std::collections::BTreeMap::new() };
    portcullis::config::load(&source).ok().unwrap().tokens
}

/// Fills the table up, and looks connections of a person up by name.
async fn look_ups(name: &str, url: &str, store: &Store, user: UserId) {
    let mut there = 0;
    for count in CONNECTIONS {
        fill(url, user, there, count).await;
        there = count;
        let mut place: u64 = 1;
        let begun = Instant::now();
        for _ in 0..LOOK_UPS {
            place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let authority = format!("{}.example", (place >> 33) % u64::from(count));
            assert!(store.connection(user, &authority, "").await.unwrap().is_some());
        }
        let each = begun.elapsed() / LOOK_UPS;
        println!("{name}, one of {count} connections: {:.0} µs", each.as_secs_f64() * 1e6);
    }
}

/// Rows `from` to `to`, made by the database itself.
async fn fill(url: &str, user: UserId, from: u32, to: u32) {
    let id: String = user.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let columns = "id, user_id, authority, account, state, sealed, scope, version, created_at, updated_at";
    if url.starts_with("sqlite:") {
        let rows = format!(
            "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})
             INSERT INTO connections ({columns})
             SELECT randomblob(16), x'{id}', i || '.example', '', 'open', randomblob(400), '', 1, 0, 0 FROM n"
        );
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        connection.execute(AssertSqlSafe(rows)).await.unwrap();
    } else {
        let rows = format!(
            "INSERT INTO connections ({columns})
             SELECT decode(md5(i::text), 'hex'), decode('{id}', 'hex'), i || '.example', '', 'open',
                 decode(repeat(md5(i::text), 25), 'hex'), '', 1, 0, 0 FROM generate_series({from}, {to} - 1) AS n(i);
             ANALYZE connections"
        );
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        connection.execute(sqlx::raw_sql(AssertSqlSafe(rows))).await.unwrap();
    }
}

/// In milliseconds.
fn wait_for_disk(directory: &Path) -> f64 {
    let mut file = std::fs::File::create(directory.join("sync")).unwrap();
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// User and system time of this process; the kernel counts in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
