//! The audit log: lines that are only ever added, each chained to the one before it by SHA-256 (docs/audit.md).
//!
//! One writer at a time, on whatever node: the chain's head is read and moved under [`Lock::Audit`]. Lines that an earlier version
//! wrote beside us, during an upgrade, are taken into the chain by the next one who appends.

mod link;
mod stretch;
mod verify;

pub use link::{AuditLink, Position};
pub use stretch::Stretch;
pub use verify::{AuditVerdict, Breach, BrokenChain};

use super::columns::reading;
use super::database::{Bind as _, FromRow, Lock, QueryBuilder, Row, Transaction, query, query_as, query_scalar};
use super::listings::{AuditSelection, NumberedEvent};
use super::{AuditEvent, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::Digest;
use link::hash_of;

/// How many lines one statement inserts.
const ROWS: usize = 64;
/// How many lines of earlier versions are chained at a time.
const ADOPTED: u32 = 256;
/// How many lines retention takes at a time, so that nobody has to wait for all of them.
const FEW: u32 = 5000;

/// A line of the log with its place in the chain; lines from before the chain have none.
#[derive(Clone, Debug)]
pub struct ChainedEvent {
    /// Its number, and what happened.
    pub numbered: NumberedEvent,
    /// Its place.
    pub link: Option<AuditLink>,
}

/// The chain as its one row keeps it.
struct Chain {
    /// Lines up to this number are from before the chain.
    begun_after: i64,
    /// The last line that retention took.
    kept: AuditLink,
    /// The newest line.
    head: AuditLink,
}

impl Store {
    /// Adds lines to the audit log, all or none. Where each of them stands.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn append_audit(&self, events: &[AuditEvent]) -> Result<Vec<(i64, AuditLink)>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.database.transaction_alone(Lock::Audit).await?;
        let mut chain = Chain::open_or_begin(&mut transaction).await?;
        chain.adopt(&mut transaction).await?;
        let mut places = Vec::with_capacity(events.len());
        for (number, event) in next_numbers(&mut transaction, events.len()).await?.into_iter().zip(events) {
            chain.head = chain.head.followed_by(number, event);
            places.push((number, chain.head));
        }
        for (events, places) in events.chunks(ROWS).zip(places.chunks(ROWS)) {
            insert(&mut transaction, events, places).await?;
        }
        chain.save(&mut transaction).await?;
        transaction.commit().await?;
        Ok(places)
    }

    /// Removes the lines that are older than `before` from the beginning of the log, and keeps the hash of the last one of them, so
    /// that the rest can be verified. A line that is younger keeps those behind it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_audit(&self, before: Timestamp) -> Result<(), StoreError> {
        const OLD: &str = "DELETE FROM audit WHERE id IN
            (SELECT id FROM audit WHERE position IS NULL AND at < ? ORDER BY at LIMIT ?)";
        while query(OLD).bind(before).bind(FEW).execute(self.database.writer()).await?.rows_affected() >= u64::from(FEW)
        {
        }
        while self.sweep_some(before).await? >= FEW as usize {}
        Ok(())
    }

    async fn sweep_some(&self, before: Timestamp) -> Result<usize, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Audit).await?;
        let Some(mut chain) = Chain::open(&mut transaction).await? else { return Ok(0) };
        let select = "SELECT at, position, hash FROM audit WHERE position > ? ORDER BY position LIMIT ?";
        let select = query_as::<(Timestamp, i64, Digest)>(select).bind(chain.kept.position).bind(FEW);
        let lines = select.fetch_all(&mut transaction).await?;
        let old = lines.iter().take_while(|(at, ..)| *at < before).count();
        let Some((_, position, hash)) = old.checked_sub(1).and_then(|last| lines.get(last)) else { return Ok(0) };
        chain.kept = AuditLink { position: *position, hash: *hash };
        chain.save(&mut transaction).await?;
        query("DELETE FROM audit WHERE position <= ?").bind(*position).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(old)
    }

    /// The newest link of the chain: whoever keeps it elsewhere can tell later whether anything before it was changed. `None`
    /// before the first line.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_head(&self) -> Result<Option<AuditLink>, StoreError> {
        let select = query_as("SELECT head, head_hash FROM audit_chain");
        let head: Option<(i64, Digest)> = select.fetch_optional(self.database.readers()).await?;
        Ok(head.map(|(position, hash)| AuditLink { position, hash }))
    }

    /// Lines in the order in which they were written, behind number `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit_lines(
        &self,
        selection: AuditSelection<'_>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ChainedEvent>, StoreError> {
        let mut select = QueryBuilder::new("SELECT * FROM audit WHERE id > ");
        select.push_bind(after);
        selection.narrow(&mut select);
        select.push(" ORDER BY id LIMIT ").push_bind(limit);
        select.build_query_as().fetch_all(self.database.readers()).await.map_err(reading::<AuditEvent>)
    }
}

impl Chain {
    async fn open(transaction: &mut Transaction) -> Result<Option<Self>, StoreError> {
        let select = query_as("SELECT begun_after, kept_after, kept_hash, head, head_hash FROM audit_chain");
        Ok(select.fetch_optional(transaction).await?)
    }

    /// Without its row a chain begins behind the lines that there are. Where these are of a chain already, somebody took the row
    /// away: the log goes on, and whoever verifies it sees lines before its beginning.
    async fn open_or_begin(transaction: &mut Transaction) -> Result<Self, StoreError> {
        if let Some(chain) = Self::open(transaction).await? {
            return Ok(chain);
        }
        let begun_after = query_scalar("SELECT COALESCE(MAX(id), 0) FROM audit").fetch_one(&mut *transaction).await?;
        let last =
            query_as("SELECT position, hash FROM audit WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1");
        let last: Option<(i64, Digest)> = last.fetch_optional(&mut *transaction).await?;
        let kept = last.map_or(AuditLink::BEGINNING, |(position, hash)| AuditLink { position, hash });
        query("INSERT INTO audit_chain (id, begun_after, kept_after, kept_hash, head, head_hash) VALUES (1, ?, ?, ?, ?, ?)")
            .bind(begun_after)
            .bind(kept.position)
            .bind(kept.hash)
            .bind(kept.position)
            .bind(kept.hash)
            .execute(transaction)
            .await?;
        Ok(Self { begun_after, kept, head: kept })
    }

    /// Chains what an earlier version has written meanwhile.
    async fn adopt(&mut self, transaction: &mut Transaction) -> Result<(), StoreError> {
        let select = query_as("SELECT * FROM audit WHERE position IS NULL AND id > ? ORDER BY id LIMIT ?");
        let strays = select.bind(self.begun_after).bind(ADOPTED).fetch_all(&mut *transaction).await;
        let strays: Vec<NumberedEvent> = strays.map_err(reading::<AuditEvent>)?;
        for stray in strays {
            self.head = self.head.followed_by(stray.number, &stray.event);
            query("UPDATE audit SET position = ?, hash = ? WHERE id = ?")
                .bind(self.head.position)
                .bind(self.head.hash)
                .bind(stray.number)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(())
    }

    async fn save(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        query("UPDATE audit_chain SET kept_after = ?, kept_hash = ?, head = ?, head_hash = ?")
            .bind(self.kept.position)
            .bind(self.kept.hash)
            .bind(self.head.position)
            .bind(self.head.hash)
            .execute(transaction)
            .await?;
        Ok(())
    }
}

impl AuditLink {
    /// Before the first line.
    const BEGINNING: Self = Self { position: 0, hash: Digest([0; 32]) };

    fn followed_by(self, number: i64, event: &AuditEvent) -> Self {
        let position = self.position + 1;
        Self { position, hash: hash_of(&self.hash, (position, number), event) }
    }
}

/// Numbers for new lines. On PostgreSQL they come from the sequence, which earlier versions use beside us during an upgrade.
async fn next_numbers(transaction: &mut Transaction, count: usize) -> Result<Vec<i64>, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if transaction.is_postgres() {
        let select = "SELECT nextval(pg_get_serial_sequence('audit', 'id')) FROM generate_series(1, ?)";
        let mut numbers: Vec<i64> = query_scalar(select).bind(count).fetch_all(transaction).await?;
        numbers.sort_unstable();
        return Ok(numbers);
    }
    let last: i64 = query_scalar("SELECT COALESCE(MAX(id), 0) FROM audit").fetch_one(transaction).await?;
    Ok((last + 1..=last + count).collect())
}

async fn insert(
    transaction: &mut Transaction,
    events: &[AuditEvent],
    places: &[(i64, AuditLink)],
) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO audit (id, position, hash, at, actor, action, subject, address, upstream, client, status, \
         duration_ms) VALUES ",
    );
    for (at, (event, (number, link))) in events.iter().zip(places).enumerate() {
        insert.push(if at == 0 { "" } else { ", " }).push_tuple([
            number.value(),
            link.position.value(),
            link.hash.value(),
            event.at.value(),
            (&event.actor).value(),
            (&event.action).value(),
            (&event.subject).value(),
            (&event.address).value(),
            (&event.upstream).value(),
            (&event.client).value(),
            event.status.value(),
            event.duration_ms.value(),
        ]);
    }
    insert.build().persistent(events.len() == ROWS).execute(transaction).await?;
    Ok(())
}

impl FromRow for Chain {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let link = |position, hash| -> sqlx::Result<AuditLink> {
            Ok(AuditLink { position: row.try_get(position)?, hash: row.try_get(hash)? })
        };
        Ok(Self {
            begun_after: row.try_get("begun_after")?,
            kept: link("kept_after", "kept_hash")?,
            head: link("head", "head_hash")?,
        })
    }
}

impl FromRow for ChainedEvent {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let place: (Option<i64>, Option<Digest>) = (row.try_get("position")?, row.try_get("hash")?);
        let link = match place {
            (Some(position), Some(hash)) => Some(AuditLink { position, hash }),
            _ => None,
        };
        Ok(Self { numbered: NumberedEvent::from_row(row)?, link })
    }
}
