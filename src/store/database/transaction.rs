//! A transaction on either database, and the journal of changes that it writes at its end.

use super::postgres::Open;
use super::writer::Member;
use super::{Lock, On, QueryBuilder};
use crate::store::{Change, StoreError, changes};
use sqlx::Sqlite;

/// Dropped without [`Transaction::commit`], nothing of it happened.
pub(in crate::store) struct Transaction {
    inner: Inner,
    changes: Vec<Change>,
}

enum Inner {
    Sqlite(Member),
    /// Of SQLite, beside the one that writes.
    Reading(sqlx::Transaction<'static, Sqlite>),
    Postgres(Open),
}

impl Transaction {
    pub(super) fn sqlite(member: Member) -> Self {
        Self { inner: Inner::Sqlite(member), changes: Vec::new() }
    }

    pub(super) fn reading(transaction: sqlx::Transaction<'static, Sqlite>) -> Self {
        Self { inner: Inner::Reading(transaction), changes: Vec::new() }
    }

    pub(super) fn postgres(open: Open) -> Self {
        Self { inner: Inner::Postgres(open), changes: Vec::new() }
    }

    /// Takes a lock besides the one that it began with, if it began with one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(in crate::store) async fn lock(&mut self, lock: Lock<'_>) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Sqlite(_) | Inner::Reading(_) => Ok(()),
            Inner::Postgres(open) => Ok(open.lock(lock).await?),
        }
    }

    /// Which of the two databases it is on: they are asked differently about themselves.
    pub(in crate::store) fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Tells every process about a change, if the transaction is committed.
    pub(in crate::store) fn record(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Makes it durable. The journal is written last, because whoever writes it has it alone until the end.
    ///
    /// # Errors
    /// [`StoreError::Database`]: nothing of it happened, unless the connection to PostgreSQL was lost; then that is not
    /// known.
    pub(in crate::store) async fn commit(mut self) -> Result<(), StoreError> {
        if !self.changes.is_empty() && matches!(self.inner, Inner::Sqlite(_)) {
            let mut insert = QueryBuilder::new("INSERT INTO changes (kind, subject) VALUES ");
            for (number, change) in std::mem::take(&mut self.changes).iter().enumerate() {
                insert.push(if number == 0 { "" } else { ", " }).push_tuple(changes::columns(change));
            }
            insert.build().execute(&mut self).await?;
        }
        match self.inner {
            Inner::Sqlite(member) => member.commit().await?,
            Inner::Reading(transaction) => transaction.commit().await?,
            Inner::Postgres(open) => open.commit(&self.changes).await?,
        }
        Ok(())
    }

    /// Takes everything back now instead of when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(in crate::store) async fn rollback(self) -> Result<(), StoreError> {
        match self.inner {
            // The next one that writes finds it taken back.
            Inner::Sqlite(_) => Ok(()),
            Inner::Reading(transaction) => Ok(transaction.rollback().await?),
            Inner::Postgres(open) => Ok(open.rollback().await?),
        }
    }
}

impl<'e> From<&'e mut Transaction> for On<'e> {
    fn from(transaction: &'e mut Transaction) -> Self {
        match &mut transaction.inner {
            Inner::Sqlite(member) => On::Sqlite(member),
            Inner::Reading(transaction) => On::SqliteReader(transaction),
            Inner::Postgres(open) => On::Postgres(open),
        }
    }
}
