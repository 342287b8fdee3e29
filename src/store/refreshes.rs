//! The durable steps of refreshing a connection (decision 3): a lease with a fence, the intent, and one compare-and-swap.
//!
//! One process at a time holds the lease of a connection, for [`REFRESH_LEASE`] by the clock of the database
//! ([`Store::now`]), so that nodes whose clocks differ agree on it. Time is not what keeps the tokens safe: whoever was
//! paused for longer than that loses the fence to the next holder, and every later write compares it.

use super::columns::reading;
use super::database::{query, query_as, query_scalar};
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::ids::{ConnectionId, Digest};
use std::time::Duration;

/// How long a process may take from its intent to the stored answer before others take it for dead. Longer than a token
/// endpoint is waited for, and shorter than most providers forgive a refresh token that is presented again.
pub const REFRESH_LEASE: Duration = Duration::from_secs(20);

/// How long before its end a token is refreshed at the earliest.
const AHEAD: Duration = Duration::from_secs(900);

/// What somebody is about to do.
pub struct Intent<'a> {
    /// Whose tokens.
    pub connection: ConnectionId,
    /// The version of the tokens that was read.
    pub version: i64,
    /// The process, by a name that no other process has.
    pub holder: &'a str,
    /// The refresh token that is going to be presented.
    pub presented: Digest,
}

/// The right to refresh, until somebody else gets it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Whose tokens.
    pub connection: ConnectionId,
    /// Their version.
    pub version: i64,
    /// Compared by every write.
    pub fence: i64,
    /// An attempt with these tokens of which nobody knows what became.
    pub earlier: Option<Attempt>,
}

/// An intent that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who.
    pub holder: String,
    /// When, by the clock of the database.
    pub at: Timestamp,
    /// With which refresh token.
    pub presented: Digest,
}

/// What [`Store::begin_refresh`] comes to.
#[derive(Debug)]
pub enum Begun {
    /// The intent is durable, and the lease is the caller's.
    Held(Lease),
    /// Somebody else has the lease.
    Busy {
        /// Who.
        holder: String,
        /// Under which fence.
        fence: i64,
    },
    /// The row is not what it was: it must be read again.
    Moved,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It is stored, under the next version.
    Yes,
    /// Somebody else holds the lease: ask again when that is over.
    Busy,
    /// The version has moved on, or the connection is gone: nobody needs it any more.
    Superseded,
}

/// How a refresh failed.
pub struct Failure<'a> {
    /// What the connection is afterwards.
    pub state: ConnectionState,
    /// In words, for the person.
    pub error: &'a str,
    /// Whether the server surely did not rotate the token: otherwise the intent stays for the next one to see.
    pub certain: bool,
    /// When to try again although nobody asks.
    pub again_at: Option<Timestamp>,
}

/// Tokens that replace others.
pub struct Renewed<'a> {
    /// Sealed like [`Connection::sealed`].
    pub sealed: &'a [u8],
    /// Like [`Connection::scope`].
    pub scope: &'a str,
    /// Like [`Connection::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// When the server answered.
    pub at: Timestamp,
}

impl Store {
    /// What leases go by: with SQLite the clock of the one machine that all processes run on, with PostgreSQL that of the
    /// database's.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.database.now().await?.unwrap_or_else(|| self.clock.now()))
    }

    /// The clock that is behind [`Store::now`], for tests that move it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes the lease and durably writes down what is intended, in one statement: no call without it. `now` is that of
    /// [`Store::now`]. The holder of a lease may take it anew; its earlier attempt counts as one whose outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_refresh(&self, intent: &Intent<'_>, now: Timestamp) -> Result<Begun, StoreError> {
        let select = query_as::<Standing>(
            "SELECT version, fence, lease_holder, lease_until, refreshing_since, refreshing_token FROM connections
             WHERE id = ?",
        );
        let standing = select.bind(intent.connection).fetch_optional(self.database.writer()).await?;
        let Some(standing) = standing.filter(|standing| standing.version == intent.version) else {
            return Ok(Begun::Moved);
        };
        if let Some(holder) = standing.holder_other_than(intent.holder, now) {
            return Ok(Begun::Busy { holder: holder.to_owned(), fence: standing.fence });
        }
        // Due at once, should nobody live to tell how it ended.
        let update = query(
            "UPDATE connections SET fence = fence + 1, lease_holder = ?, lease_until = ?, refreshing_since = ?,
                 refreshing_token = ?, refresh_at = ?
             WHERE id = ? AND version = ? AND fence = ?",
        );
        let update = update
            .bind(intent.holder)
            .bind(now.after(REFRESH_LEASE))
            .bind(now)
            .bind(intent.presented)
            .bind(now)
            .bind(intent.connection)
            .bind(intent.version)
            .bind(standing.fence);
        if update.execute(self.database.writer()).await?.rows_affected() == 0 {
            return Ok(Begun::Moved);
        }
        Ok(Begun::Held(Lease {
            connection: intent.connection,
            version: intent.version,
            fence: standing.fence + 1,
            earlier: standing.attempt,
        }))
    }

    /// Keeps an answer under the next version; the refresh and its error are over. It is good if it was received under the
    /// fence in force, and also under an older one as long as the version is the same and nobody else is trying: then it is
    /// the newest that anybody knows, even where a later holder was refused. What a later holder stored stays.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn finish_refresh(
        &self,
        (id, version, fence): (ConnectionId, i64, i64),
        renewed: &Renewed<'_>,
        now: Timestamp,
    ) -> Result<Swapped, StoreError> {
        let update = query(
            "UPDATE connections SET state = ?, sealed = ?, scope = ?, expires_at = ?, refresh_at = ?,
                 version = version + 1, fence = fence + 1, lease_holder = NULL, lease_until = NULL,
                 refreshing_since = NULL, refreshing_token = NULL, last_error = NULL, updated_at = ?
             WHERE id = ? AND version = ?
                 AND (fence = ? OR lease_until IS NULL OR lease_until <= ? OR lease_until > ?)",
        );
        let update = update
            .bind(ConnectionState::Active)
            .bind(renewed.sealed)
            .bind(renewed.scope)
            .bind(renewed.expires_at)
            .bind(renewed.expires_at.map(|end| due(id, renewed.at, end)))
            .bind(renewed.at)
            .bind(id)
            .bind(version)
            .bind(fence)
            .bind(now)
            .bind(now.after(REFRESH_LEASE));
        if self.change_connection(id, update).await? {
            return Ok(Swapped::Yes);
        }
        let select = query_scalar("SELECT version FROM connections WHERE id = ?").bind(id);
        let current: Option<i64> = select.fetch_optional(self.database.writer()).await?;
        Ok(if current == Some(version) { Swapped::Busy } else { Swapped::Superseded })
    }

    /// Notes that a refresh failed and gives the lease back; tokens and version stay. `false` when the lease or the version
    /// is not the caller's any more: then nothing was written.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fail_refresh(&self, lease: &Lease, failure: &Failure<'_>) -> Result<bool, StoreError> {
        let update = match failure.certain {
            true => query(
                "UPDATE connections SET state = ?, last_error = ?, refresh_at = ?, lease_holder = NULL,
                     lease_until = NULL, refreshing_since = NULL, refreshing_token = NULL
                 WHERE id = ? AND version = ? AND fence = ?",
            ),
            false => query(
                "UPDATE connections SET state = ?, last_error = ?, refresh_at = ?, lease_until = NULL
                 WHERE id = ? AND version = ? AND fence = ?",
            ),
        };
        let update = update
            .bind(failure.state)
            .bind(failure.error)
            .bind(failure.again_at)
            .bind(lease.connection)
            .bind(lease.version)
            .bind(lease.fence);
        if failure.state == ConnectionState::NeedsConsent {
            return self.change_connection(lease.connection, update).await;
        }
        // Nothing that anybody has in memory is different.
        Ok(update.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Takes the lease away from a holder that is known to be dead, or gives back one's own. The intent stays: nobody knows
    /// what became of it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn release_refresh(&self, id: ConnectionId, fence: i64) -> Result<(), StoreError> {
        let update = query("UPDATE connections SET lease_until = NULL WHERE id = ? AND fence = ?");
        update.bind(id).bind(fence).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Ends a connection of exactly this version: the person must consent again. `false` when the version has moved on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn end_connection(&self, id: ConnectionId, version: i64, why: &str) -> Result<bool, StoreError> {
        let update =
            query("UPDATE connections SET state = ?, last_error = ?, refresh_at = NULL WHERE id = ? AND version = ?");
        let update = update.bind(ConnectionState::NeedsConsent).bind(why).bind(id).bind(version);
        self.change_connection(id, update).await
    }

    /// Active connections that are to be refreshed by now and that nobody is refreshing, the most urgent first, `most` at
    /// once.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_due(
        &self,
        by: Timestamp,
        now: Timestamp,
        most: u32,
    ) -> Result<Vec<Connection>, StoreError> {
        let select = query_as(
            "SELECT * FROM connections
             WHERE state = 'active' AND refresh_at <= ?
                 AND (lease_until IS NULL OR lease_until <= ? OR lease_until > ?)
             ORDER BY refresh_at LIMIT ?",
        );
        let select = select.bind(by).bind(now).bind(now.after(REFRESH_LEASE)).bind(most);
        select.fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// Nobody needs to look at these tokens before that moment.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn postpone_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let update = query("UPDATE connections SET refresh_at = ? WHERE id = ? AND version = ?");
        update.bind(until).bind(id).bind(version).execute(self.database.writer()).await?;
        Ok(())
    }
}

/// When tokens that were issued then and expire at `end` are refreshed although nobody asks: a fifth of their life before,
/// but never more than [`AHEAD`], and up to a sixth less than that by the connection's id, so that connections made together
/// are not refreshed together.
pub(super) fn due(id: ConnectionId, issued: Timestamp, end: Timestamp) -> Timestamp {
    let most = (end.since(issued) / 5).min(AHEAD);
    end.before(most - most.mul_f64(f64::from(id.0[0]) / 255.0 / 6.0))
}

/// What a row says about its refresh.
pub(super) struct Standing {
    pub(super) version: i64,
    pub(super) fence: i64,
    /// Who, until when.
    pub(super) lease: Option<(String, Timestamp)>,
    pub(super) attempt: Option<Attempt>,
}

impl Standing {
    /// Who else has the lease at that moment. One that would last longer than any lease does comes from a clock that was
    /// set back since.
    fn holder_other_than(&self, own: &str, now: Timestamp) -> Option<&str> {
        let (holder, until) = self.lease.as_ref()?;
        (holder != own && now < *until && *until <= now.after(REFRESH_LEASE)).then_some(holder)
    }
}
