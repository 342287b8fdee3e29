//! SQLite: opening, pragmas, migrations, and the reading of columns.

use super::StoreError;
use crate::clock::Timestamp;
use crate::ids::Digest;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{ColumnIndex, Decode, Row as _, Sqlite, Transaction, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a writer waits for another process to finish.
const BUSY: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS: u32 = 4;
/// Applied in order; the database remembers how many of them it has (`PRAGMA user_version`).
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/sqlite/0001_initial.sql")];

/// One connection that writes, some that read: SQLite knows only one writer at a time, and tasks of this process that
/// wait for each other in a queue need no time-outs.
#[derive(Clone)]
pub(super) struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Pools {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        match path_of(url)? {
            None => Self::in_memory().await,
            Some(path) => Self::in_file(&path).await,
        }
    }

    async fn in_memory() -> Result<Self, StoreError> {
        // Every connection to `:memory:` is a database of its own, so there is exactly one, and it stays.
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        let pools = Self { writer: pool.clone(), readers: pool };
        pools.migrate("the database in memory").await?;
        Ok(pools)
    }

    async fn in_file(path: &Path) -> Result<Self, StoreError> {
        prepare(path).map_err(|error| unusable(path, &error))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An upstream's new refresh token must survive a crash right after it was written (decision 3).
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await;
        let writer = writer.map_err(|error| unusable(path, &error))?;
        let pools = Self { readers: writer.clone(), writer };
        pools.migrate(&path.display().to_string()).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await;
        Ok(Self { readers: readers.map_err(|error| unusable(path, &error))?, ..pools })
    }

    async fn migrate(&self, name: &str) -> Result<(), StoreError> {
        let unusable = |error: sqlx::Error| StoreError::Unusable(format!("{name} cannot be used: {error}"));
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(unusable)?;
        let applied: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(unusable)?;
        let applied = usize::try_from(applied).unwrap_or(usize::MAX);
        let Some(missing) = MIGRATIONS.get(applied..) else {
            return Err(StoreError::Unusable(format!(
                "{name} was written by a newer version of Portcullis: install that version, or restore a backup"
            )));
        };
        for migration in missing {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(unusable)?;
        }
        if !missing.is_empty() {
            let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", MIGRATIONS.len()));
            sqlx::raw_sql(version).execute(&mut *transaction).await.map_err(unusable)?;
        }
        transaction.commit().await.map_err(unusable)
    }

    /// A transaction that writes, from its first statement on.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// For single statements that write.
    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// For statements that read.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

/// The file of a `sqlite://` URL; none for the database in memory.
fn path_of(url: &str) -> Result<Option<PathBuf>, StoreError> {
    if url == "sqlite::memory:" {
        return Ok(None);
    }
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
        _ => Err(StoreError::Unusable(format!(
            "store.url: {url:?} is not the URL of a database: write sqlite:///path/to/portcullis.db"
        ))),
    }
}

/// Makes the directory and an empty file that nobody else can read, before SQLite would make them for everybody.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::OpenOptions::new().read(true).write(true).open(path).map(drop)
        }
        other => other.map(drop),
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!(
        "the database {} cannot be opened: {error}; its directory must be writable for the user that runs Portcullis \
         (store.url)",
        path.display()
    ))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Conflict("such a row"),
            _ => StoreError::Database(error.to_string()),
        }
    }
}

/// Reads the columns of a row, each as what we wrote into it.
pub(super) struct Columns<'r>(pub(super) &'r SqliteRow);

impl<'r> Columns<'r> {
    pub(super) fn get<T>(&self, name: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
        &'static str: ColumnIndex<SqliteRow>,
    {
        self.0.try_get(name).map_err(|_| StoreError::Damaged(name))
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Timestamp, StoreError> {
        self.get(name).map(Timestamp)
    }

    pub(super) fn optional_time(&self, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(name)?.map(Timestamp))
    }

    pub(super) fn digest(&self, name: &'static str) -> Result<Digest, StoreError> {
        Digest::from_slice(self.get(name)?).ok_or(StoreError::Damaged(name))
    }

    pub(super) fn optional_digest(&self, name: &'static str) -> Result<Option<Digest>, StoreError> {
        match self.get::<Option<&[u8]>>(name)? {
            None => Ok(None),
            Some(bytes) => Digest::from_slice(bytes).map(Some).ok_or(StoreError::Damaged(name)),
        }
    }

    pub(super) fn id(&self, name: &'static str) -> Result<[u8; 16], StoreError> {
        self.get::<&[u8]>(name)?.try_into().map_err(|_| StoreError::Damaged(name))
    }

    pub(super) fn optional_id(&self, name: &'static str) -> Result<Option<[u8; 16]>, StoreError> {
        match self.get::<Option<&[u8]>>(name)? {
            None => Ok(None),
            Some(bytes) => bytes.try_into().map(Some).map_err(|_| StoreError::Damaged(name)),
        }
    }
}
