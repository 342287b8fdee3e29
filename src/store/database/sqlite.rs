//! SQLite: opening, pragmas, migrations, and who may write.

use super::writer::Writer;
use super::{On, Transaction};
use crate::store::StoreError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqlSafeStr, SqlStr};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Applied in order; what was released never changes.
const MIGRATIONS: [(i64, &str, SqlStr); 27] = [
    (1, "initial", SqlStr::from_static(include_str!("../../../migrations/sqlite/0001_initial.sql"))),
    (2, "step_ups", SqlStr::from_static(include_str!("../../../migrations/sqlite/0002_step_ups.sql"))),
    (
        3,
        "audit of requests",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0003_audit_of_requests.sql")),
    ),
    (4, "clients", SqlStr::from_static(include_str!("../../../migrations/sqlite/0004_clients.sql"))),
    (
        5,
        "API keys and derived grants",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0005_api_keys_and_derived_grants.sql")),
    ),
    (6, "devices", SqlStr::from_static(include_str!("../../../migrations/sqlite/0006_devices.sql"))),
    (
        7,
        "key rotation and DPoP",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0007_key_rotation_and_dpop.sql")),
    ),
    (8, "identities", SqlStr::from_static(include_str!("../../../migrations/sqlite/0008_identities.sql"))),
    (9, "factors", SqlStr::from_static(include_str!("../../../migrations/sqlite/0009_factors.sql"))),
    (10, "access", SqlStr::from_static(include_str!("../../../migrations/sqlite/0010_access.sql"))),
    (11, "refresh", SqlStr::from_static(include_str!("../../../migrations/sqlite/0011_refresh.sql"))),
    (12, "services", SqlStr::from_static(include_str!("../../../migrations/sqlite/0012_services.sql"))),
    (13, "links to services", SqlStr::from_static(include_str!("../../../migrations/sqlite/0013_service_links.sql"))),
    (
        15,
        "limits of all nodes",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0015_limits_of_all_nodes.sql")),
    ),
    (
        16,
        "names in lower case",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0016_names_in_lower_case.sql")),
    ),
    (17, "MCP sessions", SqlStr::from_static(include_str!("../../../migrations/sqlite/0017_mcp_sessions.sql"))),
    (
        18,
        "personal credentials",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0018_personal_credentials.sql")),
    ),
    (19, "selection", SqlStr::from_static(include_str!("../../../migrations/sqlite/0019_selection.sql"))),
    (20, "certificates", SqlStr::from_static(include_str!("../../../migrations/sqlite/0020_certificates.sql"))),
    (21, "ACME challenges", SqlStr::from_static(include_str!("../../../migrations/sqlite/0021_acme_challenges.sql"))),
    (22, "audit chain", SqlStr::from_static(include_str!("../../../migrations/sqlite/0022_audit_chain.sql"))),
    (23, "activity", SqlStr::from_static(include_str!("../../../migrations/sqlite/0023_activity.sql"))),
    (
        24,
        "connection titles",
        SqlStr::from_static(include_str!("../../../migrations/sqlite/0024_connection_titles.sql")),
    ),
    (25, "nodes", SqlStr::from_static(include_str!("../../../migrations/sqlite/0025_nodes.sql"))),
    (26, "access pages", SqlStr::from_static(include_str!("../../../migrations/sqlite/0026_access_pages.sql"))),
    (27, "audit by actor", SqlStr::from_static(include_str!("../../../migrations/sqlite/0027_audit_by_actor.sql"))),
    (28, "audit bundles", SqlStr::from_static(include_str!("../../../migrations/sqlite/0028_audit_bundles.sql"))),
];

/// How long a writer waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon what was refused at once is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// SQLite has one writer at a time. Tasks of this process queue for its connection, which is fair and never
/// `SQLITE_BUSY`; readers have their own connections and, with the write-ahead log, wait for nobody.
#[derive(Clone)]
pub(in crate::store) struct Pools {
    writer: Writer,
    /// None for a database in memory: every connection would have one of its own.
    readers: Option<SqlitePool>,
}

impl Pools {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        match Location::parse(url)? {
            Location::Memory => {
                let mut writer = SqliteConnectOptions::new().foreign_keys(true).connect().await?;
                migrate(&mut writer).await.map_err(|problem| problem.describe("in memory"))?;
                Ok(Self { readers: None, writer: Writer::new(writer, false) })
            }
            Location::File(path) => {
                create(&path).map_err(|error| Problem::File(error).describe_file(&path))?;
                open_file(&path).await.map_err(|problem| problem.describe_file(&path))
            }
        }
    }

    /// The last connection to close writes the log back into the database and removes it; that has to be the writer.
    pub(super) async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        self.writer.close().await;
    }

    pub(super) fn readers(&self) -> On<'_> {
        self.readers.as_ref().map_or(On::SqliteWriter(&self.writer), On::SqlitePool)
    }

    /// A transaction that reads.
    pub(super) async fn snapshot(&self) -> sqlx::Result<Transaction> {
        Ok(match &self.readers {
            Some(readers) => Transaction::reading(readers.begin().await?),
            None => Transaction::sqlite(self.writer.begin().await?),
        })
    }

    pub(in crate::store) fn writer(&self) -> &Writer {
        &self.writer
    }
}

/// Refuses to make a database where one is to be read.
pub(super) fn must_exist(url: &str) -> Result<(), StoreError> {
    match Location::parse(url)? {
        Location::File(path) if !path.exists() => {
            Err(StoreError::Unusable(format!("there is no database {}: correct the path", path.display())))
        }
        _ => Ok(()),
    }
}

/// Whether some process has the file open. Whoever has one with a write-ahead log open keeps others from having it alone.
pub(super) async fn is_in_use(url: &str) -> Result<bool, StoreError> {
    let Location::File(path) = Location::parse(url)? else { return Ok(false) };
    if !path.exists() {
        return Ok(false);
    }
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::ZERO);
    let alone = async {
        let mut connection = options.locking_mode(SqliteLockingMode::Exclusive).connect().await?;
        connection.execute("BEGIN EXCLUSIVE; COMMIT").await?;
        connection.close().await
    };
    match alone.await {
        Ok(()) => Ok(false),
        Err(error) if matches!(primary_code(&error), Some(BUSY | LOCKED)) => Ok(true),
        Err(error) => Err(Problem::Database(error).describe_file(&path)),
    }
}

enum Location {
    Memory,
    File(PathBuf),
}

impl Location {
    fn parse(url: &str) -> Result<Self, StoreError> {
        let rest = url.strip_prefix("sqlite:").ok_or_else(|| {
            StoreError::Unusable(
                "store.url is neither of SQLite nor of PostgreSQL: write \"sqlite:///path/to/portcullis.db\" or \
                 \"postgres://user:password@host/database\""
                    .to_owned(),
            )
        })?;
        if rest == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.contains('?') {
            return Err(StoreError::Unusable(
                "store.url must name a file and no parameters, such as \"sqlite:///var/lib/portcullis/portcullis.db\""
                    .to_owned(),
            ));
        }
        Ok(Self::File(PathBuf::from(path)))
    }
}

/// What we make is for our own eyes; SQLite gives the write-ahead log the mode of the database.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

async fn open_file(path: &Path) -> Result<Pools, Problem> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // Rows come from a thread of their own: the more may wait, the less often the two change places.
        .row_buffer_size(512)
        .journal_mode(SqliteJournalMode::Wal)
        // What was committed survives a loss of power: a refresh token that an upstream rotated exists only here.
        .synchronous(SqliteSynchronous::Full);
    let mut writer = connect(&options).await?;
    migrate(&mut writer).await?;
    let readers = pool(4, options.pragma("query_only", "ON")).await?;
    Ok(Pools { writer: Writer::new(writer, true), readers: Some(readers) })
}

/// Of two processes that open a new file both want to begin its write-ahead log, and SQLite lets neither wait for the other there.
async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(error) if primary_code(&error) == Some(BUSY) && Instant::now() < deadline => sleep(BUSY_PAUSE).await,
            connected => return connected,
        }
    }
}

async fn pool(connections: u32, options: SqliteConnectOptions) -> sqlx::Result<SqlitePool> {
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        // A file does not go away.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
}

/// In one transaction, so that of two processes that start on an empty file one migrates and the other finds it done.
async fn migrate(writer: &mut SqliteConnection) -> Result<(), Problem> {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    // `run` would do, but what it returns can be sent to no other thread.
    Migrator::with_migrations(migrations.into()).run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

/// Why a database cannot be opened.
enum Problem {
    File(std::io::Error),
    Database(sqlx::Error),
    Migration(MigrateError),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<MigrateError> for Problem {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => Self::Database(error),
            other => Self::Migration(other),
        }
    }
}

impl Problem {
    fn describe_file(self, path: &Path) -> StoreError {
        self.describe(&path.display().to_string())
    }

    fn describe(self, name: &str) -> StoreError {
        const ACCESS: &str = "let the user that runs portcullis write there, or choose another file in store.url";
        StoreError::Unusable(match self {
            Self::File(error) => format!("cannot write the database {name}: {error}; {ACCESS}"),
            Self::Migration(MigrateError::VersionMissing(_)) => format!(
                "the database {name} was written by a newer version of portcullis: run that version, or restore a backup"
            ),
            Self::Migration(error) => {
                format!("the database {name} cannot be brought up to date: {error}; restore a backup")
            }
            Self::Database(error) => match primary_code(&error) {
                Some(READONLY | CANTOPEN | PERM) => format!("cannot write the database {name}: {error}; {ACCESS}"),
                Some(NOTADB | CORRUPT) => {
                    format!("{name} is not a database of portcullis: move it away, or choose another file in store.url")
                }
                Some(BUSY) => format!("the database {name} is locked by another program: end it and try again"),
                Some(FULL) => format!("the disk of the database {name} is full: make room and try again"),
                _ => format!("the database {name} cannot be opened: {error}"),
            },
        })
    }
}

// Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;

/// The low byte of an extended result code.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}
