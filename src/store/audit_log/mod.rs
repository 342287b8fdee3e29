//! The audit log: lines that are only ever added, each chained to the one before it by SHA-256 (docs/audit.md).
//!
//! One writer at a time, on whatever node: the chain's head is read and moved under [`Lock::Audit`]. Lines that an earlier version
//! wrote beside us, during an upgrade, are taken into the chain by the next one who appends.
//!
//! A few lines are a row each (table `audit`). Of many that are written at once all but the last one go into bundles
//! (`audit_bundles`), a thousand to a row; nobody who reads can tell. So the newest line is always a row of its own.

mod bundle;
mod bundles;
mod line;
mod link;
mod stretch;
mod verify;

pub use line::AuditLine;
pub use link::{AuditLink, Position};
pub use stretch::Stretch;
pub use verify::{AuditVerdict, Breach, BrokenChain};

use super::columns::reading;
use super::database::{Bind as _, FromRow, Lock, QueryBuilder, Row, Transaction, query, query_as, query_scalar};
use super::listings::{AuditSelection, NumberedEvent};
use super::{AuditEvent, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::Digest;
use bundle::Bundle;
use link::Hasher;

/// How many lines one statement inserts.
const ROWS: usize = 64;
/// From how many lines on a bundle is cheaper than so many rows.
const WORTH_A_BUNDLE: usize = 32;
/// How many lines go into one bundle: few enough that whoever wants one of them does not read much more.
const BUNDLE: usize = 1024;
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
    /// Adds lines to the audit log, all or none, each as a row. Where each of them stands.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn append_audit(&self, events: &[AuditEvent]) -> Result<Vec<(i64, AuditLink)>, StoreError> {
        let lines: Vec<_> = events.iter().map(AuditEvent::line).collect();
        self.append(&lines, lines.len()).await
    }

    /// The same, in one row where they are many: all but the last one are bundled.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn append_audit_lines(&self, lines: &[AuditLine<'_>]) -> Result<Vec<(i64, AuditLink)>, StoreError> {
        self.append(lines, if lines.len() > WORTH_A_BUNDLE { 1 } else { lines.len() }).await
    }

    /// The last so many lines become rows, those before them bundles.
    async fn append(&self, lines: &[AuditLine<'_>], rows: usize) -> Result<Vec<(i64, AuditLink)>, StoreError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.database.transaction_alone(Lock::Audit).await?;
        let mut chain = Chain::open_or_begin(&mut transaction).await?;
        chain.adopt(&mut transaction).await?;
        let (mut places, mut hasher) = (Vec::with_capacity(lines.len()), Hasher::default());
        for (number, line) in next_numbers(&mut transaction, lines.len()).await?.into_iter().zip(lines) {
            chain.head = chain.head.followed_by(number, line, &mut hasher);
            places.push((number, chain.head));
        }
        let bundled = lines.len().saturating_sub(rows);
        for (lines, places) in lines[..bundled].chunks(BUNDLE).zip(places[..bundled].chunks(BUNDLE)) {
            if let Some((bundle, actors)) = Bundle::of(lines, places) {
                bundles::insert(&mut transaction, &bundle, actors).await?;
            }
        }
        for (lines, places) in lines[bundled..].chunks(ROWS).zip(places[bundled..].chunks(ROWS)) {
            insert(&mut transaction, lines, places).await?;
        }
        chain.save(&mut transaction).await?;
        transaction.commit().await?;
        Ok(places)
    }

    /// Removes the lines that are older than `before` from the beginning of the log, and keeps the hash of the last one of them, so
    /// that the rest can be verified. A line that is younger keeps those behind it, and those of its bundle.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_audit(&self, before: Timestamp) -> Result<(), StoreError> {
        const OLD: &str = "DELETE FROM audit WHERE id IN
            (SELECT id FROM audit WHERE position IS NULL AND at < ? ORDER BY at LIMIT ?)";
        while query(OLD).bind(before).bind(FEW).execute(self.database.writer()).await?.rows_affected() >= u64::from(FEW)
        {
        }
        while self.sweep_some(before).await? {}
        Ok(())
    }

    /// Whether there may be more.
    async fn sweep_some(&self, before: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Audit).await?;
        let Some(mut chain) = Chain::open(&mut transaction).await? else { return Ok(false) };
        let select = "SELECT at, position, hash FROM audit WHERE position > ? ORDER BY position LIMIT ?";
        let select = query_as::<(Timestamp, i64, Digest)>(select).bind(chain.kept.position).bind(FEW);
        let mut ends = select.fetch_all(&mut transaction).await?;
        let rows = ends.len();
        let bundles = bundles::oldest(&mut transaction, chain.kept.position).await?;
        // Behind the last of either there may be the other kind, which is not read yet.
        let read_up_to = |ends: &[(Timestamp, i64, Digest)], is_all: bool| match ends.last() {
            Some((_, position, _)) if !is_all => *position,
            _ => i64::MAX,
        };
        let known = read_up_to(&ends, rows < FEW as usize).min(read_up_to(&bundles.ends, bundles.is_all));
        ends.extend(bundles.ends);
        ends.sort_unstable_by_key(|(_, position, _)| *position);
        let is_old = |(at, position, _): &&(Timestamp, i64, Digest)| *at < before && *position <= known;
        let old = ends.iter().take_while(is_old).count();
        let Some((_, position, hash)) = old.checked_sub(1).and_then(|last| ends.get(last)) else { return Ok(false) };
        chain.kept = AuditLink { position: *position, hash: *hash };
        chain.save(&mut transaction).await?;
        query("DELETE FROM audit WHERE position <= ?").bind(*position).execute(&mut transaction).await?;
        bundles::remove_up_to(&mut transaction, *position).await?;
        transaction.commit().await?;
        Ok(true)
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
        let rows = select.build_query_as().fetch_all(self.database.readers()).await;
        let mut lines: Vec<ChainedEvent> = rows.map_err(reading::<AuditEvent>)?;
        lines.extend(self.bundled_after(selection, after, limit).await?);
        lines.sort_by_key(|line| line.numbered.number);
        lines.truncate(limit as usize);
        Ok(lines)
    }

    /// Events of the audit log, newest first, that are older than number `before`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit_page(
        &self,
        selection: AuditSelection<'_>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<NumberedEvent>, StoreError> {
        let mut select = QueryBuilder::new("SELECT * FROM audit WHERE TRUE");
        selection.narrow(&mut select);
        if let Some(before) = before {
            select.push(" AND id < ").push_bind(before);
        }
        select.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
        let rows = select.build_query_as().fetch_all(self.database.readers()).await;
        let mut lines: Vec<NumberedEvent> = rows.map_err(reading::<AuditEvent>)?;
        lines.extend(self.bundled_before(selection, before.unwrap_or(i64::MAX), limit).await?);
        lines.sort_by_key(|line| std::cmp::Reverse(line.number));
        lines.truncate(limit as usize);
        Ok(lines)
    }

    /// The newest lines, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEvent>, StoreError> {
        let lines = self.audit_page(AuditSelection::default(), None, limit).await?;
        Ok(lines.into_iter().map(|line| line.event).collect())
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
            self.head = self.head.followed_by(stray.number, &stray.event.line(), &mut Hasher::default());
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

    fn followed_by(self, number: i64, line: &AuditLine<'_>, hasher: &mut Hasher) -> Self {
        let position = self.position + 1;
        Self { position, hash: hasher.hash_of(&self.hash, (position, number), line) }
    }
}

/// Numbers for new lines. On PostgreSQL they come from the sequence, which earlier versions use beside us during an upgrade.
async fn next_numbers(transaction: &mut Transaction, count: usize) -> Result<Vec<i64>, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if transaction.is_postgres() {
        let select = "SELECT MIN(number), MAX(number) FROM
            (SELECT nextval(pg_get_serial_sequence('audit', 'id')) AS number FROM generate_series(1, ?)) AS numbers";
        let (first, last): (i64, i64) = query_as(select).bind(count).fetch_one(&mut *transaction).await?;
        if last - first + 1 == count {
            return Ok((first..=last).collect());
        }
        // One of an earlier version took numbers in between: they are gone, and the next ones are asked for one by one.
        let select = "SELECT nextval(pg_get_serial_sequence('audit', 'id')) FROM generate_series(1, ?)";
        let mut numbers: Vec<i64> = query_scalar(select).bind(count).fetch_all(transaction).await?;
        numbers.sort_unstable();
        return Ok(numbers);
    }
    // The newest line is never bundled.
    let last: i64 = query_scalar("SELECT COALESCE(MAX(id), 0) FROM audit").fetch_one(transaction).await?;
    Ok((last + 1..=last + count).collect())
}

async fn insert(
    transaction: &mut Transaction,
    lines: &[AuditLine<'_>],
    places: &[(i64, AuditLink)],
) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO audit (id, position, hash, at, actor, action, subject, address, upstream, client, status, \
         duration_ms) VALUES ",
    );
    for (at, (line, (number, link))) in lines.iter().zip(places).enumerate() {
        insert.push(if at == 0 { "" } else { ", " }).push_tuple([
            number.value(),
            link.position.value(),
            link.hash.value(),
            line.at.value(),
            line.actor.value(),
            line.action.value(),
            (&*line.subject).value(),
            line.address.value(),
            line.upstream.value(),
            line.client.value(),
            line.status.value(),
            line.duration_ms.value(),
        ]);
    }
    insert.build().persistent(lines.len() == ROWS).execute(transaction).await?;
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
