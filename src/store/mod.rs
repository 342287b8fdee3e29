//! The database. Only this module names sqlx; everything above speaks in records and in transitions that are atomic.

mod access;
mod accounts;
mod activity;
mod api_keys;
mod audit_log;
mod authorization;
mod certificates;
mod changes;
mod clients;
mod columns;
#[cfg(test)]
mod conformance;
mod connections;
mod consents;
mod database;
mod derived_grants;
mod devices;
mod extent;
mod factors;
mod following;
mod grants;
mod groups;
mod housekeeping;
mod identities;
mod limits;
mod listings;
mod mcp_sessions;
mod nodes;
mod records;
mod refreshes;
mod sealed;
mod selection;
mod service_links;
mod service_listings;
mod services;
mod sessions;
mod signing_keys;
#[cfg(test)]
pub(crate) mod testing;
pub mod transfer;
mod upstream_requests;
mod upstream_tools;
mod upstreams;
mod used_once;

pub use activity::{
    ActivityCounts, ActivityKey, ActivityName, ActivityShare, ActivitySlice, ActivitySpan, LATENCIES, OpenStreams,
};
pub use audit_log::{AuditLine, AuditLink, AuditVerdict, Breach, BrokenChain, ChainedEvent, Position, Stretch};
pub use certificates::{AcmeChallenge, Issued, StoredCertificate};
pub use clients::{Registered, RoomForClients};
pub use database::{Heard, Listener};
pub use extent::{PersonExtent, UpstreamExtent};
pub use factors::{Authenticator, Passkey, PasskeyHolder};
pub use following::{JournalPosition, News};
pub use groups::BY_ADMINISTRATOR;
pub use identities::Unlinked;
pub use limits::LimitUsed;
pub use listings::{AuditSelection, GrantSelection, ListedClient, NumberedEvent, Owned};
pub use mcp_sessions::{McpSession, RoomForSessions};
pub use nodes::{Node, SeenNode};
pub use records::*;
pub use refreshes::{Attempt, Begun, Failure, Intent, Lease, REFRESH_LEASE, Renewed, Swapped};
pub use sealed::{SealedColumn, SealedValue};
pub use selection::MemberName;
pub use service_links::{LinkCallback, ServiceLink};
pub use services::{Parting, ServicePat};
pub use transfer::Value;
pub use upstream_requests::UpstreamRequest;
pub use upstream_tools::{ToolList, UpstreamTools};

use database::Database;

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something with that name or id is there already.
    #[error("{0} exists already")]
    Conflict(&'static str),
    /// The gateway would be left without an administrator who may sign in.
    #[error(
        "this is the last administrator who may sign in: make somebody else one first (`portcullis user role NAME \
         administrator`)"
    )]
    LastAdministrator,
    /// The database cannot be opened or written; the text names the file and what to do.
    #[error("{0}")]
    Unusable(String),
    /// A row holds something that we never wrote.
    #[error("the database holds a damaged {0}")]
    Damaged(&'static str),
    /// Nothing was asked yet; the same may work in a moment.
    #[error("the database cannot be reached, or all connections to it are in use (store.connections)")]
    Busy,
    /// Everything else.
    #[error("the database failed: {0}")]
    Database(String),
}

impl From<StoreError> for crate::error::Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LastAdministrator => crate::error::Fault::caller(error.to_string()),
            StoreError::Busy => crate::error::Fault::busy(error),
            error => crate::error::Fault::gateway(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => StoreError::Busy,
            error => StoreError::Database(error.to_string()),
        }
    }
}

/// How many connections to PostgreSQL there are at most where nobody says.
pub const CONNECTIONS: u32 = 16;

/// A handle to the database; cloning shares it.
#[derive(Clone)]
pub struct Store {
    database: Database,
    /// What leases go by, unless the database has a clock of its own.
    clock: crate::clock::Clock,
}

impl Store {
    /// Opens `sqlite:///path` (or `sqlite::memory:`), whose path is taken as it is written, or
    /// `postgres://user:password@host/database`; creates and migrates what is in it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] naming the file or the server and what to do about it, but no password.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, CONNECTIONS).await
    }

    /// The same with at most so many connections to PostgreSQL; SQLite has as many as are good for it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(url: &str, connections: u32) -> Result<Self, StoreError> {
        Ok(Self { database: Database::open(url, connections).await?, clock: crate::clock::Clock::system() })
    }

    /// [`Store::open`] for a database that must be there.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_existing(url: &str) -> Result<Self, StoreError> {
        Database::must_exist(url)?;
        Self::open(url).await
    }

    /// Whether some process, a gateway above all, has the database open that a URL names.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn is_in_use(url: &str) -> Result<bool, StoreError> {
        Database::is_in_use(url).await
    }

    /// Hears of changes as they are committed, by whatever process. `None` for SQLite, which has nothing of the kind: there
    /// one asks [`Store::changes_after`] now and then.
    ///
    /// # Errors
    /// [`StoreError::Unusable`].
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        self.database.listen().await
    }

    /// Where somebody may look at each commit of SQLite.
    ///
    /// # Panics
    /// On PostgreSQL, whose commits happen elsewhere.
    #[cfg(test)]
    pub(crate) async fn checkpoints(&self) -> crate::checkpoints::Checkpoints {
        match &self.database {
            Database::Sqlite(pools) => pools.writer().checkpoints().await,
            Database::Postgres(_) => panic!("not SQLite"),
        }
    }

    /// Waits for what is under way and closes the database; it cannot be used afterwards.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// For inserts: a row that is there already is a conflict about `what`.
fn inserting(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => StoreError::Conflict(what),
        _ => error.into(),
    }
}
