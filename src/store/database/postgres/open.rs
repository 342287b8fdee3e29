//! A transaction that is under way.

use super::super::statement::Prepared;
use super::super::{Lock, Row};
use super::{is_lost, limited, listener, rows};
use crate::store::{Change, changes};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor as _, Postgres};

/// Our own instead of sqlx's: a connection that does not answer any more must not keep its place in the pool, and what
/// fails half way must not look committed.
pub(in crate::store) struct Open {
    /// `None` when it was lost or given back.
    connection: Option<PoolConnection<Postgres>>,
    /// PostgreSQL answers COMMIT with success after a statement failed, and rolls back.
    has_failed: bool,
}

impl Open {
    pub(super) async fn begin(connection: PoolConnection<Postgres>, lock: Option<Lock<'_>>) -> sqlx::Result<Self> {
        let mut open = Self { connection: Some(connection), has_failed: false };
        // One message for both.
        let begin = lock.map_or_else(|| "BEGIN".to_owned(), |lock| format!("BEGIN; {}", lock.statement()));
        open.run(begin).await?;
        Ok(open)
    }

    pub(in crate::store::database) async fn lock(&mut self, lock: Lock<'_>) -> sqlx::Result<()> {
        self.run(lock.statement()).await
    }

    /// Writes the journal and commits in one message.
    pub(in crate::store::database) async fn commit(mut self, changes: &[Change]) -> sqlx::Result<()> {
        if self.has_failed {
            return Err(sqlx::Error::Protocol("a statement of the transaction failed".to_owned()));
        }
        let commit = match changes {
            [] => "COMMIT".to_owned(),
            changes => format!("{}; COMMIT", journal(changes)),
        };
        self.run(commit).await?;
        self.connection = None;
        Ok(())
    }

    pub(in crate::store::database) async fn rollback(mut self) -> sqlx::Result<()> {
        self.run("ROLLBACK".to_owned()).await?;
        self.connection = None;
        Ok(())
    }

    pub(in crate::store::database) async fn execute(&mut self, query: Prepared<Postgres>) -> sqlx::Result<u64> {
        let result = limited(query.execute(&mut **self.connection()?)).await;
        Ok(self.checked(result)?.rows_affected())
    }

    pub(in crate::store::database) async fn rows(&mut self, query: Prepared<Postgres>) -> sqlx::Result<Vec<Row>> {
        let result = limited(query.fetch_all(&mut **self.connection()?)).await;
        Ok(rows(self.checked(result)?))
    }

    pub(in crate::store::database) async fn row(&mut self, query: Prepared<Postgres>) -> sqlx::Result<Option<Row>> {
        let result = limited(query.fetch_optional(&mut **self.connection()?)).await;
        Ok(self.checked(result)?.map(Row::Postgres))
    }

    /// Runs statements that have no arguments.
    async fn run(&mut self, sql: String) -> sqlx::Result<()> {
        let result = limited(self.connection()?.execute(sqlx::raw_sql(AssertSqlSafe(sql)))).await;
        self.checked(result).map(drop)
    }

    fn connection(&mut self) -> sqlx::Result<&mut PoolConnection<Postgres>> {
        self.connection.as_mut().ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()))
    }

    fn checked<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        self.has_failed |= result.is_err();
        if result.as_ref().is_err_and(is_lost) {
            drop(self.connection.take().map(PoolConnection::detach));
        }
        result
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if limited(connection.execute("ROLLBACK")).await.is_err() {
                    drop(connection.detach());
                }
            })),
            Err(_) => drop(connection.detach()),
        }
    }
}

/// Entries, and the word to whoever listens. All of it is our own: names of kinds, and bytes in hexadecimal.
fn journal(changes: &[Change]) -> String {
    let entries = changes.iter().map(|change| {
        let (kind, subject) = changes::entry(change);
        match subject {
            Some(id) => format!("('{kind}', decode('{}', 'hex'))", data_encoding::HEXLOWER.encode(id)),
            None => format!("('{kind}', NULL)"),
        }
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    let lock = Lock::Journal.statement();
    format!("{lock}; INSERT INTO changes (kind, subject) VALUES {entries}; NOTIFY {}", listener::CHANNEL)
}
