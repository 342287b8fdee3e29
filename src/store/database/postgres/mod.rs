//! PostgreSQL: opening, settings of connections, migrations, and limits to how long anything may take.

mod listener;
mod open;
mod problem;

pub use listener::{Heard, Listener};

pub(super) use open::Open;

use super::statement::Prepared;
use super::{Lock, Row};
use crate::store::StoreError;
use parking_lot::Mutex;
use problem::{Problem, Target};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Postgres, SqlSafeStr as _, SqlStr};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Applied in order; what was released never changes. A version is a migration of SQLite's with the same number; the
/// first one here is everything up to there.
const MIGRATIONS: [(i64, &str, SqlStr); 17] = [
    (10, "initial", SqlStr::from_static(include_str!("../../../../migrations/postgres/0010_initial.sql"))),
    (11, "refresh", SqlStr::from_static(include_str!("../../../../migrations/postgres/0011_refresh.sql"))),
    (12, "services", SqlStr::from_static(include_str!("../../../../migrations/postgres/0012_services.sql"))),
    (
        13,
        "links to services",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0013_service_links.sql")),
    ),
    (
        15,
        "limits of all nodes",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0015_limits_of_all_nodes.sql")),
    ),
    (17, "MCP sessions", SqlStr::from_static(include_str!("../../../../migrations/postgres/0017_mcp_sessions.sql"))),
    (
        18,
        "personal credentials",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0018_personal_credentials.sql")),
    ),
    (19, "selection", SqlStr::from_static(include_str!("../../../../migrations/postgres/0019_selection.sql"))),
    (20, "certificates", SqlStr::from_static(include_str!("../../../../migrations/postgres/0020_certificates.sql"))),
    (
        21,
        "ACME challenges",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0021_acme_challenges.sql")),
    ),
    (22, "audit chain", SqlStr::from_static(include_str!("../../../../migrations/postgres/0022_audit_chain.sql"))),
    (23, "activity", SqlStr::from_static(include_str!("../../../../migrations/postgres/0023_activity.sql"))),
    (
        24,
        "connection titles",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0024_connection_titles.sql")),
    ),
    (25, "nodes", SqlStr::from_static(include_str!("../../../../migrations/postgres/0025_nodes.sql"))),
    (26, "access pages", SqlStr::from_static(include_str!("../../../../migrations/postgres/0026_access_pages.sql"))),
    (
        27,
        "audit by actor",
        SqlStr::from_static(include_str!("../../../../migrations/postgres/0027_audit_by_actor.sql")),
    ),
    (28, "audit bundles", SqlStr::from_static(include_str!("../../../../migrations/postgres/0028_audit_bundles.sql"))),
];

/// The oldest version that this is tried with.
const OLDEST: i32 = 15;

/// How long to wait for a connection, a new one or a free one.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long to wait for an answer. The server gives up before (`statement_timeout`), so this is for one that is gone.
const ANSWER: Duration = Duration::from_secs(12);

/// How long a connection that was closed may still be seen: its process at the server ends a moment later, on a busy machine
/// some moments. PostgreSQL itself waits like this before it copies or drops a database.
const LEAVING: Duration = Duration::from_secs(3);

/// A connection that was unused for so long is looked at before it is used: the server may have been started again.
const TRUSTED: Duration = Duration::from_secs(1);

/// What every connection is told. What was committed survives a loss of power, whatever the server's default is.
const SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '30s'; SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', FALSE)
    WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";

/// How long a connection may take to say that it is still there.
const PING: Duration = Duration::from_secs(1);

/// How long somebody waits for the server.
#[derive(Clone, Copy)]
struct Patience {
    acquire: Duration,
    answer: Duration,
}

impl Patience {
    const USUAL: Self = Self { acquire: ACQUIRE, answer: ANSWER };
    /// Whoever is to know at once when the server is gone, and when it is there again.
    const ASIDE: Self = Self { acquire: Duration::from_secs(2), answer: Duration::from_secs(1) };
}

/// A database on a server.
#[derive(Clone)]
pub(in crate::store) struct Server {
    pool: PgPool,
    options: PgConnectOptions,
    lost: Lost,
    patience: Patience,
    /// One connection of its own.
    aside: Option<Box<Server>>,
}

/// When a connection was last found to be broken: others may be, too, that were last used before.
type Lost = Arc<Mutex<Option<Instant>>>;

impl Server {
    pub(super) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = options(url)?;
        prepare(&options).await.map_err(|problem| problem.describe(&Target::of(&options)))?;
        let aside = Some(Box::new(Self::pooled(options.clone(), 1, Patience::ASIDE)));
        Ok(Self { aside, ..Self::pooled(options, connections, Patience::USUAL) })
    }

    fn pooled(options: PgConnectOptions, connections: u32, patience: Patience) -> Self {
        let lost = Lost::default();
        let last_lost = lost.clone();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(patience.acquire)
            .idle_timeout(Duration::from_secs(300))
            .test_before_acquire(false)
            .before_acquire(move |connection, found| {
                let is_doubtful = last_lost.lock().is_some_and(|at| at.elapsed() < found.idle_for);
                Box::pin(async move {
                    if is_doubtful || found.idle_for > TRUSTED {
                        within(PING, connection.ping()).await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(async move { connection.execute(SETTINGS).await.map(drop) }))
            .connect_lazy_with(options.clone());
        Self { pool, options, lost, patience, aside: None }
    }

    /// A connection that nobody else waits for.
    pub(super) fn aside(&self) -> &Self {
        self.aside.as_deref().unwrap_or(self)
    }

    pub(super) async fn close(&self) {
        self.aside().pool.close().await;
        self.pool.close().await;
    }

    /// A broken connection is replaced: nothing has been done on it yet.
    pub(super) async fn begin(&self, lock: Option<Lock<'_>>) -> sqlx::Result<Open> {
        match Open::begin(self.pool.acquire().await?, lock).await {
            Err(error) if is_lost(&error) => {
                *self.lost.lock() = Some(Instant::now());
                Open::begin(self.pool.acquire().await?, lock).await
            }
            result => result,
        }
    }

    pub(super) async fn listen(&self) -> Result<Listener, StoreError> {
        Listener::connect(self.options.clone())
            .await
            .map_err(|error| Problem::from(error).describe(&Target::of(&self.options)))
    }

    pub(super) async fn execute(&self, query: Prepared<Postgres>) -> sqlx::Result<u64> {
        let mut connection = self.pool.acquire().await?;
        let result = within(self.patience.answer, query.execute(&mut *connection)).await;
        Ok(self.checked(connection, result)?.rows_affected())
    }

    pub(super) async fn rows(&self, query: Prepared<Postgres>) -> sqlx::Result<Vec<Row>> {
        let mut connection = self.pool.acquire().await?;
        let result = within(self.patience.answer, query.fetch_all(&mut *connection)).await;
        Ok(rows(self.checked(connection, result)?))
    }

    pub(super) async fn row(&self, query: Prepared<Postgres>) -> sqlx::Result<Option<Row>> {
        let mut connection = self.pool.acquire().await?;
        let result = within(self.patience.answer, query.fetch_optional(&mut *connection)).await;
        Ok(self.checked(connection, result)?.map(Row::Postgres))
    }

    /// A connection that does not answer is let go of. In the pool it would keep its place for as long as the network needs
    /// to notice.
    fn checked<T>(&self, connection: PoolConnection<Postgres>, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.as_ref().is_err_and(is_lost) {
            *self.lost.lock() = Some(Instant::now());
            drop(connection.detach());
        }
        result
    }
}

fn rows(rows: Vec<PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}

/// Whether the connection is of no use any more.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // "admin_shutdown", "crash_shutdown": the server says so while it closes the connection.
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// Waits for an answer, but not for one that does not come.
async fn limited<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    within(ANSWER, work).await
}

async fn within<T>(answer: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let late = || sqlx::Error::Io(std::io::Error::new(ErrorKind::TimedOut, "PostgreSQL does not answer"));
    tokio::time::timeout(answer, work).await.unwrap_or_else(|_| Err(late()))
}

/// What a URL says. Other machines must prove who they are, unless the URL says otherwise: a password and everything that
/// is stored go there.
fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let wrong = || {
        StoreError::Unusable(
            "store.url is not one of PostgreSQL: write \"postgres://user:password@host/database\"".to_owned(),
        )
    };
    let parsed = url::Url::parse(url).map_err(|_| wrong())?;
    let mut options: PgConnectOptions = url.parse().map_err(|_| wrong())?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let says = parsed.query_pairs().any(|(key, _)| matches!(&*key, "sslmode" | "ssl-mode"));
    let is_here = options.get_socket().is_some()
        || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
        || options.get_host().starts_with('/');
    if !says && !is_here {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(options.application_name("portcullis").statement_cache_capacity(256))
}

/// Whether some process of ours is connected to a database. A server takes a moment to see that somebody has left, so it is
/// given [`LEAVING`].
pub(super) async fn is_in_use(url: &str) -> Result<bool, StoreError> {
    const OTHERS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = current_setting('application_name') AND pid <> pg_backend_pid())";
    let options = options(url)?;
    let asked = async {
        let connect = tokio::time::timeout(ACQUIRE, options.connect());
        let mut connection = connect.await.map_err(|_| Problem::Silent)??;
        let begun = Instant::now();
        let others = loop {
            let others: bool = limited(sqlx::query_scalar(OTHERS).fetch_one(&mut connection)).await?;
            if !others || begun.elapsed() >= LEAVING {
                break others;
            }
            tokio::time::sleep(LEAVING / 100).await;
        };
        connection.close().await?;
        Ok(others)
    };
    asked.await.map_err(|problem: Problem| problem.describe(&Target::of(&options)))
}

/// Looks at the server and brings the schema up to date, on a connection of its own: a pool would hide why it cannot
/// connect.
async fn prepare(options: &PgConnectOptions) -> Result<(), Problem> {
    let mut connection = tokio::time::timeout(ACQUIRE, options.connect()).await.map_err(|_| Problem::Silent)??;
    let version: String = limited(sqlx::query_scalar("SHOW server_version_num").fetch_one(&mut connection)).await?;
    if version.parse::<i32>().is_ok_and(|version| version / 10_000 < OLDEST) {
        return Err(Problem::Old(version));
    }
    let encoding: String = limited(sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection)).await?;
    if encoding != "UTF8" {
        return Err(Problem::Encoding(encoding));
    }
    migrate(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// In one transaction and under a lock, so that of several nodes that start on an empty database one migrates and the
/// others find it done.
async fn migrate(connection: &mut PgConnection) -> Result<(), Problem> {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut transaction = connection.begin().await?;
    transaction.execute(AssertSqlSafe(Lock::Migrations.statement())).await?;
    let mut migrator = Migrator::with_migrations(migrations.into());
    // `run` would do, but what it returns can be sent to no other thread.
    migrator.set_locking(false).run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}
