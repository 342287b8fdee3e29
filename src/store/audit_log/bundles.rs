//! The table of bundles: writing them, and finding the lines in them that somebody wants.

use super::bundle::Bundle;
use super::{ChainedEvent, Position, Stretch};
use crate::clock::Timestamp;
use crate::ids::Digest;
use crate::store::database::{Bind as _, FromRow, QueryBuilder, Row, Transaction, query, query_as, query_scalar};
use crate::store::listings::{AuditSelection, NumberedEvent};
use crate::store::{Store, StoreError};
use std::borrow::Cow;
use std::collections::HashMap;

/// How many bundles are read at a time.
const SOME: u32 = 8;
/// How many bundles a stretch is made of at most: a million lines, of whomever they are.
pub(super) const MOST: u32 = 1000;
/// How many bundles retention looks at at a time.
const FEW: u32 = 64;
/// How many rows one statement inserts.
const ROWS: usize = 200;

/// Where a bundle begins and ends, and how many of its lines count.
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) lines: i64,
}

/// The bundles from which retention begins.
pub(super) struct Oldest {
    /// When the latest of the lines was, and where the last one stands.
    pub(super) ends: Vec<(Timestamp, Position, Digest)>,
    /// Whether there are no others.
    pub(super) is_all: bool,
}

pub(super) async fn insert(
    transaction: &mut Transaction,
    bundle: &Bundle,
    actors: HashMap<Cow<'_, str>, i64>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO audit_bundles (first_id, last_id, first_position, last_position, first_at, last_at, lines, hash, content)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(bundle.first_id)
    .bind(bundle.last_id)
    .bind(bundle.first_position)
    .bind(bundle.last_position)
    .bind(bundle.first_at)
    .bind(bundle.last_at)
    .bind(bundle.lines)
    .bind(bundle.hash)
    .bind(&bundle.content)
    .execute(&mut *transaction)
    .await?;
    let mut actors: Vec<(Cow<'_, str>, i64)> = actors.into_iter().collect();
    // In the order of the table's key.
    actors.sort_unstable();
    for some in actors.chunks(ROWS) {
        let mut insert = QueryBuilder::new("INSERT INTO audit_bundle_actors (actor, bundle, lines) VALUES ");
        for (at, (actor, lines)) in some.iter().enumerate() {
            let row = [(&**actor).value(), bundle.first_id.value(), lines.value()];
            insert.push(if at == 0 { "" } else { ", " }).push_tuple(row);
        }
        insert.build().persistent(some.len() == 1).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// The oldest ones that end behind a position.
pub(super) async fn oldest(transaction: &mut Transaction, after: Position) -> Result<Oldest, StoreError> {
    let select =
        "SELECT last_at, last_position, hash FROM audit_bundles WHERE last_position > ? ORDER BY first_id LIMIT ?";
    let ends: Vec<_> = query_as(select).bind(after).bind(FEW).fetch_all(transaction).await?;
    let is_all = ends.len() < FEW as usize;
    Ok(Oldest { ends, is_all })
}

/// Those that retention takes.
pub(super) async fn remove_up_to(transaction: &mut Transaction, position: Position) -> Result<(), StoreError> {
    let select = "SELECT first_id FROM audit_bundles WHERE last_position > ? ORDER BY first_id LIMIT 1";
    let stays: Option<i64> = query_scalar(select).bind(position).fetch_optional(&mut *transaction).await?;
    for delete in ["DELETE FROM audit_bundle_actors WHERE bundle < ?", "DELETE FROM audit_bundles WHERE first_id < ?"] {
        query(delete).bind(stays.unwrap_or(i64::MAX)).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// The next one behind the one that begins with this number.
pub(super) async fn next(transaction: &mut Transaction, after: i64) -> Result<Option<Bundle>, StoreError> {
    let select = query_as("SELECT * FROM audit_bundles WHERE first_id > ? ORDER BY first_id LIMIT 1");
    Ok(select.bind(after).fetch_optional(transaction).await?)
}

/// Whose lines are in a bundle, as the table says.
pub(super) async fn actors_of(transaction: &mut Transaction, bundle: i64) -> Result<HashMap<String, i64>, StoreError> {
    let select = query_as("SELECT actor, lines FROM audit_bundle_actors WHERE bundle = ?").bind(bundle);
    let actors: Vec<(String, i64)> = select.fetch_all(transaction).await?;
    Ok(actors.into_iter().collect())
}

impl Store {
    /// Bundled lines that somebody wants, behind number `after`, the oldest first: `limit` of them, or a few more.
    pub(super) async fn bundled_after(
        &self,
        selection: AuditSelection<'_>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ChainedEvent>, StoreError> {
        let first = after.saturating_add(1).max(selection.first.unwrap_or(i64::MIN));
        let selection = AuditSelection { first: Some(first), ..selection };
        let (mut found, mut from) = (Vec::new(), self.bundle_with(first).await?);
        while found.len() < limit as usize {
            let bundles = self.bundles(&selection, Stretch::After(from)).await?;
            for bundle in &bundles {
                found.extend(bundle.unbundle().ok_or(StoreError::Damaged(WHAT))?.fitting(&selection));
                from = bundle.first_id;
            }
            if bundles.len() < SOME as usize {
                break;
            }
        }
        Ok(found)
    }

    /// Bundled lines that somebody wants, with a number below `before`, the newest first: `limit` of them, or a few more.
    pub(super) async fn bundled_before(
        &self,
        selection: AuditSelection<'_>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<NumberedEvent>, StoreError> {
        let last = before.saturating_sub(1).min(selection.last.unwrap_or(i64::MAX));
        let selection = AuditSelection { last: Some(last), ..selection };
        let (mut found, mut from) = (Vec::new(), before);
        while found.len() < limit as usize {
            let bundles = self.bundles(&selection, Stretch::Before(from)).await?;
            for bundle in &bundles {
                let lines = bundle.unbundle().ok_or(StoreError::Damaged(WHAT))?.fitting(&selection);
                found.extend(lines.into_iter().rev().map(|line| line.numbered));
                from = bundle.first_id;
            }
            if bundles.len() < SOME as usize {
                break;
            }
        }
        Ok(found)
    }

    /// The bundles with lines in one direction, the nearest first, and how many of one actor, if there is one, they have.
    pub(super) async fn spans(&self, stretch: Stretch, actor: Option<&str>) -> Result<Vec<Span>, StoreError> {
        let (mut select, key) = match actor {
            None => {
                (QueryBuilder::new("SELECT first_id, last_id, lines FROM audit_bundles p WHERE TRUE"), "p.first_id")
            }
            Some(actor) => {
                let mut select = QueryBuilder::new(
                    "SELECT p.first_id, p.last_id, a.lines FROM audit_bundle_actors a
                     JOIN audit_bundles p ON p.first_id = a.bundle WHERE a.actor = ",
                );
                select.push_bind(actor);
                (select, "a.bundle")
            }
        };
        let stretch = match stretch {
            Stretch::After(number) => Stretch::After(self.bundle_with(number.saturating_add(1)).await?),
            before => before,
        };
        narrow(&mut select, key, stretch, MOST);
        Ok(select.build_query_as().fetch_all(self.database.readers()).await?)
    }

    /// The numbers in the bundle that begins with this one, of one actor if there is one.
    pub(super) async fn numbers_of(&self, first: i64, actor: Option<&str>) -> Result<Vec<i64>, StoreError> {
        let select = query_as("SELECT * FROM audit_bundles WHERE first_id = ?").bind(first);
        let bundle: Option<Bundle> = select.fetch_optional(self.database.readers()).await?;
        let Some(bundle) = bundle else { return Ok(Vec::new()) };
        Ok(bundle.unbundle().ok_or(StoreError::Damaged(WHAT))?.numbers(actor))
    }

    /// The last bundled line by time that is from before `moment`.
    pub(super) async fn bundled_number_at(&self, moment: Timestamp) -> Result<Option<(Timestamp, i64)>, StoreError> {
        let select =
            query_as("SELECT * FROM audit_bundles WHERE first_at < ? ORDER BY first_at DESC, first_id DESC LIMIT 1");
        let bundle: Option<Bundle> = select.bind(moment).fetch_optional(self.database.readers()).await?;
        let Some(bundle) = bundle else { return Ok(None) };
        Ok(bundle.unbundle().ok_or(StoreError::Damaged(WHAT))?.number_at(moment))
    }

    /// Just before where the bundle begins that a number may be in: to begin behind.
    async fn bundle_with(&self, number: i64) -> Result<i64, StoreError> {
        let select = query_scalar("SELECT COALESCE(MAX(first_id), 1) - 1 FROM audit_bundles WHERE first_id <= ?");
        Ok(select.bind(number).fetch_one(self.database.readers()).await?)
    }

    /// The next few in which something may fit.
    async fn bundles(&self, selection: &AuditSelection<'_>, stretch: Stretch) -> Result<Vec<Bundle>, StoreError> {
        let (mut select, key) = match selection.actor {
            None => (QueryBuilder::new("SELECT p.* FROM audit_bundles p WHERE TRUE"), "p.first_id"),
            Some(actor) => {
                let mut select = QueryBuilder::new(
                    "SELECT p.* FROM audit_bundle_actors a JOIN audit_bundles p ON p.first_id = a.bundle WHERE a.actor = ",
                );
                select.push_bind(actor);
                (select, "a.bundle")
            }
        };
        for (column, bound) in [
            (" AND p.last_id >= ", selection.first),
            (" AND p.first_id <= ", selection.last),
            (" AND p.last_at >= ", selection.since.map(|since| since.0)),
            (" AND p.first_at < ", selection.until.map(|until| until.0)),
        ] {
            if let Some(bound) = bound {
                select.push(column).push_bind(bound);
            }
        }
        narrow(&mut select, key, stretch, SOME);
        Ok(select.build_query_as().fetch_all(self.database.readers()).await?)
    }
}

/// What a damaged one is called.
const WHAT: &str = "bundle of lines of the audit log";

fn narrow(select: &mut QueryBuilder<'_>, key: &str, stretch: Stretch, limit: u32) {
    let (comparison, number, direction) = match stretch {
        Stretch::After(number) => (">", number, ""),
        Stretch::Before(number) => ("<", number, " DESC"),
    };
    select.push(&format!(" AND {key} {comparison} ")).push_bind(number);
    select.push(&format!(" ORDER BY {key}{direction} LIMIT ")).push_bind(limit);
}

impl FromRow for Bundle {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            first_id: row.try_get("first_id")?,
            last_id: row.try_get("last_id")?,
            first_position: row.try_get("first_position")?,
            last_position: row.try_get("last_position")?,
            first_at: row.try_get("first_at")?,
            last_at: row.try_get("last_at")?,
            lines: row.try_get("lines")?,
            hash: row.try_get("hash")?,
            content: row.try_get("content")?,
        })
    }
}

impl FromRow for Span {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self { first: row.try_get(0)?, last: row.try_get(1)?, lines: row.try_get(2)? })
    }
}
