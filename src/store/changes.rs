//! The journal of changes that memory must learn about. A change is written in the transaction that makes it, so a
//! process that reads the journal misses nothing and hears of nothing that did not happen.

use super::database::{Bind, FromRow, Row, Value, query_as, query_scalar};
use super::*;
use crate::ids::{ConnectionId, GrantId, UserId};

/// How many changes a process may be behind.
pub(super) const KEPT: i64 = 100_000;

impl Store {
    /// The number of the newest change; a process reads it before it loads anything into memory.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn latest_change(&self) -> Result<i64, StoreError> {
        Ok(query_scalar("SELECT COALESCE(MAX(id), 0) FROM changes").fetch_one(self.database.aside()).await?)
    }

    /// Every change after number `after`, oldest first; `None` for one that this version does not understand, which must
    /// not hide those that come after it. The methods that revoke grants, touch connections, upstreams
    /// and signing keys append theirs in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn changes_after(&self, after: i64) -> Result<Vec<(i64, Option<Change>)>, StoreError> {
        let rows: Vec<Entry> = query_as("SELECT id, kind, subject FROM changes WHERE id > ? ORDER BY id")
            .bind(after)
            .fetch_all(self.database.aside())
            .await?;
        Ok(rows.into_iter().map(|Entry(id, change)| (id, change)).collect())
    }
}

/// How a change stands in the journal: its kind, and the id of what it is about.
pub(super) fn entry(change: &Change) -> (&'static str, Option<&[u8; 16]>) {
    match change {
        Change::GrantRevoked(id) => (GRANT, Some(&id.0)),
        Change::ConnectionChanged(id) => (CONNECTION, Some(&id.0)),
        Change::UpstreamsChanged => (UPSTREAMS, None),
        Change::KeysChanged => (KEYS, None),
        Change::PeopleChanged => (PEOPLE, None),
        Change::SelectionChanged(id) => (SELECTION, Some(&id.0)),
        Change::CertificatesChanged => (CERTIFICATES, None),
    }
}

/// The same as arguments.
pub(super) fn columns(change: &Change) -> [Value<'static>; 2] {
    let (kind, subject) = entry(change);
    [kind.value(), subject.copied().value()]
}

const GRANT: &str = "grant";
const CONNECTION: &str = "connection";
const UPSTREAMS: &str = "upstreams";
const KEYS: &str = "keys";
const PEOPLE: &str = "people";
const SELECTION: &str = "selection";
const CERTIFICATES: &str = "certificates";

/// A number and what happened, unless a newer version of this program wrote it.
struct Entry(i64, Option<Change>);

impl FromRow for Entry {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let change = match row.try_get("kind")? {
            GRANT => row.try_get::<GrantId, _>("subject").ok().map(Change::GrantRevoked),
            CONNECTION => row.try_get::<ConnectionId, _>("subject").ok().map(Change::ConnectionChanged),
            UPSTREAMS => Some(Change::UpstreamsChanged),
            KEYS => Some(Change::KeysChanged),
            PEOPLE => Some(Change::PeopleChanged),
            SELECTION => row.try_get::<UserId, _>("subject").ok().map(Change::SelectionChanged),
            CERTIFICATES => Some(Change::CertificatesChanged),
            _ => None,
        };
        Ok(Self(row.try_get("id")?, change))
    }
}
