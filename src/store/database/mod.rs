//! Two databases behind one way to speak to them: SQLite, which needs nobody, and PostgreSQL, which several nodes share.
//!
//! The rest of `store` writes each statement once ([`query`], [`query_as`], [`query_scalar`]). It must be right for both:
//! `ON CONFLICT` instead of `INSERT OR …`, no `rowid`, `TRUE` and `FALSE`, names compared as `lower(name) = ?` with an
//! argument in lower case.
//!
//! SQLite has one writer, so its transactions are serial. PostgreSQL's run at once under READ COMMITTED: a statement sees
//! what others committed before it began, and waits for the rows that others are changing. So a transaction either begins
//! with the statement that decides (a compare-and-swap), or holds the row that it relies on ([`QueryScalar::held`],
//! [`QueryAs::locked`]), or takes a named [`Lock`] before it reads.
//!
//! Order of locks, so that nobody waits in a circle: [`Lock`]s as they stand there, then a grant, then what lives under
//! it, and last, in [`Transaction::commit`], the journal.

mod lock;
mod postgres;
mod sqlite;
mod statement;
mod transaction;
mod value;
mod writer;

pub use postgres::{Heard, Listener};

pub(super) use lock::Lock;
pub(super) use statement::{Query, QueryBuilder, query, query_as, query_scalar};
pub(super) use transaction::Transaction;
pub(super) use value::{Bind, Cell, Column, FromRow, Kind, Row, Value};

use super::StoreError;
use crate::clock::Timestamp;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use statement::Done;

/// A handle; cloning shares it.
#[derive(Clone)]
pub(super) enum Database {
    Sqlite(sqlite::Pools),
    Postgres(Box<postgres::Server>),
}

/// Where a statement runs.
pub(super) enum On<'e> {
    SqlitePool(&'e SqlitePool),
    SqliteReader(&'e mut SqliteConnection),
    SqliteWriter(&'e writer::Writer),
    Sqlite(&'e mut writer::Member),
    PostgresPool(&'e postgres::Server),
    Postgres(&'e mut postgres::Open),
}

impl Database {
    /// Opens what a URL names, creating and migrating it.
    pub(super) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        Ok(match is_of_postgres(url) {
            true => Self::Postgres(Box::new(postgres::Server::open(url, connections).await?)),
            false => Self::Sqlite(sqlite::Pools::open(url).await?),
        })
    }

    /// Refuses a URL by which a database would be made. (PostgreSQL makes none by being asked.)
    pub(super) fn must_exist(url: &str) -> Result<(), StoreError> {
        if is_of_postgres(url) { Ok(()) } else { sqlite::must_exist(url) }
    }

    /// Whether some process has the database open that a URL names.
    pub(super) async fn is_in_use(url: &str) -> Result<bool, StoreError> {
        match is_of_postgres(url) {
            true => postgres::is_in_use(url).await,
            false => sqlite::is_in_use(url).await,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pools) => pools.close().await,
            Self::Postgres(server) => server.close().await,
        }
    }

    pub(super) async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(server) => server.listen().await.map(Some),
        }
    }

    /// The time by the clock of a server; `None` where there is none.
    pub(super) async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(_) => {
                let select = query_scalar("SELECT floor(extract(epoch FROM clock_timestamp()))::BIGINT");
                Ok(Some(select.fetch_one(self.readers()).await?))
            }
        }
    }

    /// For a single statement that changes nothing.
    pub(super) fn readers(&self) -> On<'_> {
        match self {
            Self::Sqlite(pools) => pools.readers(),
            Self::Postgres(server) => On::PostgresPool(server),
        }
    }

    /// For reading the journal of changes, which must not wait until others have had their turn: it says whether memory may be
    /// trusted.
    pub(super) fn aside(&self) -> On<'_> {
        match self {
            Self::Sqlite(pools) => pools.readers(),
            Self::Postgres(server) => On::PostgresPool(server.aside()),
        }
    }

    /// For a single statement, which is a transaction by itself.
    pub(super) fn writer(&self) -> On<'_> {
        match self {
            Self::Sqlite(pools) => On::SqliteWriter(pools.writer()),
            Self::Postgres(server) => On::PostgresPool(server),
        }
    }

    /// A transaction whose first statement decides, or that only adds.
    pub(super) async fn transaction(&self) -> Result<Transaction, StoreError> {
        self.begin(None).await
    }

    /// A transaction that reads before it writes: while it lasts nobody else has the same lock.
    pub(super) async fn transaction_alone(&self, lock: Lock<'_>) -> Result<Transaction, StoreError> {
        self.begin(Some(lock)).await
    }

    /// A transaction that reads everything as it is at one moment, and changes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => pools.snapshot().await?,
            Self::Postgres(server) => {
                let mut transaction = Transaction::postgres(server.begin(None).await?);
                let snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
                query(snapshot).execute(&mut transaction).await?;
                transaction
            }
        })
    }

    async fn begin(&self, lock: Option<Lock<'_>>) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => Transaction::sqlite(pools.writer().begin().await?),
            Self::Postgres(server) => Transaction::postgres(server.begin(lock).await?),
        })
    }
}

impl On<'_> {
    async fn execute(self, query: Query<'_>) -> sqlx::Result<Done> {
        Ok(Done(match self {
            On::SqlitePool(pool) => query.for_sqlite()?.execute(pool).await?.rows_affected(),
            On::SqliteReader(reader) => query.for_sqlite()?.execute(reader).await?.rows_affected(),
            On::SqliteWriter(writer) => writer.execute(query.for_sqlite()?).await?,
            On::Sqlite(member) => member.execute(query.for_sqlite()?).await?,
            On::PostgresPool(server) => server.execute(query.for_postgres()?).await?,
            On::Postgres(open) => open.execute(query.for_postgres()?).await?,
        }))
    }

    async fn rows(self, query: Query<'_>) -> sqlx::Result<Vec<Row>> {
        Ok(match self {
            On::SqlitePool(pool) => sqlite_rows(query.for_sqlite()?.fetch_all(pool).await?),
            On::SqliteReader(reader) => sqlite_rows(query.for_sqlite()?.fetch_all(reader).await?),
            On::SqliteWriter(writer) => writer.rows(query.for_sqlite()?).await?,
            On::Sqlite(member) => member.rows(query.for_sqlite()?).await?,
            On::PostgresPool(server) => server.rows(query.for_postgres()?).await?,
            On::Postgres(open) => open.rows(query.for_postgres()?).await?,
        })
    }

    /// What a record is made of goes as soon as it is made: ten thousand rows would take more memory than their records.
    async fn records<T>(self, query: Query<'_>, read: impl Fn(&Row) -> sqlx::Result<T>) -> sqlx::Result<Vec<T>> {
        let On::SqlitePool(pool) = self else { return self.rows(query).await?.iter().map(read).collect() };
        let (mut rows, mut records) = (query.for_sqlite()?.fetch(pool), Vec::new());
        while let Some(row) = rows.try_next().await? {
            records.push(read(&Row::Sqlite(row))?);
        }
        Ok(records)
    }

    async fn row(self, query: Query<'_>) -> sqlx::Result<Option<Row>> {
        Ok(match self {
            On::SqlitePool(pool) => query.for_sqlite()?.fetch_optional(pool).await?.map(Row::Sqlite),
            On::SqliteReader(reader) => query.for_sqlite()?.fetch_optional(reader).await?.map(Row::Sqlite),
            On::SqliteWriter(writer) => writer.row(query.for_sqlite()?).await?,
            On::Sqlite(member) => member.row(query.for_sqlite()?).await?,
            On::PostgresPool(server) => server.row(query.for_postgres()?).await?,
            On::Postgres(open) => open.row(query.for_postgres()?).await?,
        })
    }
}

fn is_of_postgres(url: &str) -> bool {
    matches!(url.split_once(':'), Some(("postgres" | "postgresql", _)))
}

fn sqlite_rows(rows: Vec<sqlx::sqlite::SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}
