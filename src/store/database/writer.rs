//! The one connection that writes. Transactions that wait for it share commits, because a commit costs a wait for the disk
//! and a transaction next to nothing.
//!
//! Each runs in a savepoint of its own, so that taking one back does not touch the others. One that is done makes room for
//! the next; its caller hears of it when all that were waiting have run and the COMMIT of the whole group is on the disk. When
//! nobody waits that is at once.

use super::statement::Prepared;
use super::{Row, sqlite_rows};
use crate::checkpoints::{Checkpoints, Step};
use sqlx::Sqlite;
use sqlx::sqlite::SqliteConnection;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

/// After so many transactions a group is committed although others wait.
const MOST: usize = 128;

/// And after so long.
const LONGEST: Duration = Duration::from_millis(20);

/// How long to wait for one's turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cloning shares it. Who waits for it gets it in the order of asking.
#[derive(Clone)]
pub(in crate::store) struct Writer {
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    /// `None` when it is closed.
    connection: Option<SqliteConnection>,
    /// The transactions that are done since the last COMMIT.
    group: Option<Group>,
    /// What somebody left behind who went away in the middle.
    left: Option<Left>,
    groups: u64,
    most: usize,
    checkpoints: Checkpoints,
}

struct Group {
    number: u64,
    begun: Instant,
    done: Vec<oneshot::Sender<Result<(), Shared>>>,
}

#[derive(Clone, Copy)]
enum Left {
    /// A savepoint within a group.
    Savepoint,
    /// A group of which nothing is worth keeping.
    Group,
}

/// A transaction within a group.
pub(in crate::store) struct Member {
    writer: Writer,
    /// `None` once it is over.
    desk: Option<OwnedMutexGuard<Desk>>,
    /// Whether it began the group: its savepoint is the group's BEGIN.
    is_first: bool,
}

impl Writer {
    /// With `shares`, transactions share commits. Without, no transaction begins before the last one is committed.
    pub(super) fn new(connection: SqliteConnection, shares: bool) -> Self {
        let most = if shares { MOST } else { 1 };
        let connection = Some(connection);
        let desk = Desk { connection, group: None, left: None, groups: 0, most, checkpoints: Checkpoints::default() };
        Self { desk: Arc::new(Mutex::new(desk)) }
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Member> {
        let mut desk = timeout(PATIENCE, self.settled()).await.map_err(|_| busy())?;
        let is_first = desk.group.is_none();
        if is_first {
            desk.groups += 1;
            desk.group = Some(Group { number: desk.groups, begun: Instant::now(), done: Vec::new() });
        }
        // From here on whoever goes away leaves something behind.
        let mut member = Member { writer: self.clone(), desk: Some(desk), is_first };
        member.run(if is_first { "BEGIN IMMEDIATE" } else { "SAVEPOINT member" }).await?;
        Ok(member)
    }

    pub(super) async fn execute(&self, query: Prepared<Sqlite>) -> sqlx::Result<u64> {
        let mut member = self.begin().await?;
        let changed = member.execute(query).await?;
        member.commit().await?;
        Ok(changed)
    }

    pub(super) async fn rows(&self, query: Prepared<Sqlite>) -> sqlx::Result<Vec<Row>> {
        let mut member = self.begin().await?;
        let rows = member.rows(query).await?;
        member.commit().await?;
        Ok(rows)
    }

    pub(super) async fn row(&self, query: Prepared<Sqlite>) -> sqlx::Result<Option<Row>> {
        let mut member = self.begin().await?;
        let row = member.row(query).await?;
        member.commit().await?;
        Ok(row)
    }

    pub(super) async fn close(&self) {
        let mut desk = self.settled().await;
        desk.commit().await;
        if let Some(connection) = desk.connection.take() {
            let _ = sqlx::Connection::close(connection).await;
        }
    }

    async fn settled(&self) -> OwnedMutexGuard<Desk> {
        let mut desk = self.desk.clone().lock_owned().await;
        desk.settle().await;
        desk
    }

    /// Where somebody may look at each commit.
    #[cfg(test)]
    pub(in crate::store) async fn checkpoints(&self) -> Checkpoints {
        self.settled().await.checkpoints.clone()
    }

    /// How many groups there were.
    #[cfg(test)]
    pub(in crate::store) async fn groups(&self) -> u64 {
        self.settled().await.groups
    }

    /// Cleans up, and commits a group, as soon as all who wait by now had their turn.
    fn close_soon(&self, group: Option<u64>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let writer = self.clone();
        runtime.spawn(async move {
            let mut desk = writer.settled().await;
            if group.is_some() && desk.group.as_ref().map(|group| group.number) == group {
                desk.commit().await;
            }
        });
    }
}

impl Member {
    /// Makes it durable together with others.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        // Nobody takes it back from here on.
        let Some(mut desk) = self.desk.take() else { return Err(over()) };
        if !self.is_first
            && let Err(error) = desk.run("RELEASE member").await
        {
            let error = Shared(Arc::new(error));
            desk.fail(&error).await;
            return Err(error.into());
        }
        let (answer, most) = (desk.done(), desk.most);
        match &desk.group {
            // In a task of its own, so that it goes on whoever goes away.
            Some(group) if group.done.len() >= most || group.begun.elapsed() >= LONGEST => {
                drop(tokio::spawn(async move { desk.commit().await }));
            }
            Some(group) if group.done.len() == 1 => {
                let number = group.number;
                drop(desk);
                self.writer.close_soon(Some(number));
            }
            _ => drop(desk),
        }
        match answer.await {
            Ok(result) => result.map_err(Shared::into),
            Err(_) => Err(over()),
        }
    }

    pub(super) async fn execute(&mut self, query: Prepared<Sqlite>) -> sqlx::Result<u64> {
        let result = query.execute(self.connection()?).await;
        Ok(self.checked(result).await?.rows_affected())
    }

    pub(super) async fn rows(&mut self, query: Prepared<Sqlite>) -> sqlx::Result<Vec<Row>> {
        let result = query.fetch_all(self.connection()?).await;
        Ok(sqlite_rows(self.checked(result).await?))
    }

    pub(super) async fn row(&mut self, query: Prepared<Sqlite>) -> sqlx::Result<Option<Row>> {
        let result = query.fetch_optional(self.connection()?).await;
        Ok(self.checked(result).await?.map(Row::Sqlite))
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        let result = sqlx::query(sql).execute(self.connection()?).await;
        self.checked(result).await.map(drop)
    }

    fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.desk.as_mut().and_then(|desk| desk.connection.as_mut()).ok_or_else(over)
    }

    /// After some errors (a full disk, a failing one) SQLite has taken back the whole group, or may have.
    async fn checked<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        match result {
            Err(error) if !is_contained(&error) => {
                let error = Shared(Arc::new(error));
                if let Some(mut desk) = self.desk.take() {
                    desk.fail(&error).await;
                }
                Err(error.into())
            }
            result => result,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut desk) = self.desk.take() {
            desk.left = Some(if self.is_first { Left::Group } else { Left::Savepoint });
            drop(desk);
            self.writer.close_soon(None);
        }
    }
}

impl Desk {
    /// A transaction is done; where to hear that it is durable.
    fn done(&mut self) -> oneshot::Receiver<Result<(), Shared>> {
        let (tell, answer) = oneshot::channel();
        if let Some(group) = &mut self.group {
            group.done.push(tell);
        }
        answer
    }

    /// Takes back what somebody left behind.
    async fn settle(&mut self) {
        // Taken first: what is sent to SQLite is done, even if nobody waits for it.
        match self.left.take() {
            None => {}
            Some(Left::Savepoint) => {
                if let Err(error) = self.run("ROLLBACK TO member; RELEASE member").await {
                    self.fail(&Shared(Arc::new(error))).await;
                }
            }
            Some(Left::Group) => {
                self.group = None;
                let _ = self.run("ROLLBACK").await;
            }
        }
    }

    /// Commits what is done, and says so to those who wait for it. Must not be dropped before it ends.
    async fn commit(&mut self) {
        if self.group.is_none() {
            return;
        }
        self.checkpoints.reached(Step::Committing).await;
        match self.run("COMMIT").await {
            Ok(()) => {
                self.checkpoints.reached(Step::Committed).await;
                self.answer(&Ok(()));
            }
            Err(error) => self.fail(&Shared(Arc::new(error))).await,
        }
    }

    /// Nothing of the group happened.
    async fn fail(&mut self, error: &Shared) {
        self.answer(&Err(error.clone()));
        let _ = self.run("ROLLBACK").await;
    }

    fn answer(&mut self, result: &Result<(), Shared>) {
        for waiting in self.group.take().into_iter().flat_map(|group| group.done) {
            let _ = waiting.send(result.clone());
        }
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        let connection = self.connection.as_mut().ok_or_else(over)?;
        sqlx::query(sql).execute(connection).await.map(drop)
    }
}

/// An error that many get.
#[derive(Clone, Debug)]
struct Shared(Arc<sqlx::Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {}

impl From<Shared> for sqlx::Error {
    fn from(shared: Shared) -> Self {
        Arc::try_unwrap(shared.0).unwrap_or_else(|error| sqlx::Error::AnyDriverError(Box::new(Shared(error))))
    }
}

fn busy() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "it is busy with other writes"))
}

fn over() -> sqlx::Error {
    sqlx::Error::PoolClosed
}

/// Whether only the statement was taken back: it was wrong, or broke a constraint (<https://www.sqlite.org/rescode.html>).
fn is_contained(error: &sqlx::Error) -> bool {
    const ERROR: i32 = 1;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const RANGE: i32 = 25;
    match error {
        sqlx::Error::Database(_) => {
            matches!(super::sqlite::primary_code(error), Some(ERROR | TOO_BIG | CONSTRAINT | MISMATCH | RANGE))
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => false,
        _ => true,
    }
}
