//! The database. Only this module names sqlx; everything above speaks in records and in transitions that are atomic.

mod access;
mod accounts;
mod api_keys;
mod authorization;
mod changes;
mod clients;
mod columns;
#[cfg(test)]
mod conformance;
mod connections;
mod consents;
mod derived_grants;
mod devices;
mod factors;
mod following;
mod grants;
mod groups;
mod housekeeping;
mod identities;
mod listings;
mod records;
mod service_links;
mod service_listings;
mod services;
mod sessions;
mod signing_keys;
mod sqlite;
mod upstreams;
mod used_once;

pub use clients::{Registered, RoomForClients};
pub use connections::REFRESH_LEASE;
pub use following::{JournalPosition, News};
pub use factors::{Authenticator, Passkey, PasskeyHolder};
pub use groups::BY_ADMINISTRATOR;
pub use identities::Unlinked;
pub use listings::{AuditSelection, GrantSelection, ListedClient, NumberedEvent, Owned};
pub use records::*;
pub use service_links::{LinkCallback, ServiceLink};
pub use services::{Parting, ServicePat};

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
    /// Everything else.
    #[error("the database failed: {0}")]
    Database(String),
}

impl From<StoreError> for crate::error::Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LastAdministrator => crate::error::Fault::caller(error.to_string()),
            error => crate::error::Fault::gateway(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Database(error.to_string())
    }
}

/// A handle to the database; cloning shares it.
#[derive(Clone)]
pub struct Store {
    sqlite: sqlite::Pools,
}

impl Store {
    /// Opens `sqlite:///path` (or `sqlite::memory:`), creating and migrating it. The path is taken as it is written.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] naming the file and what to do about it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self { sqlite: sqlite::Pools::open(url).await? })
    }

    /// Waits for what is under way and closes the database; it cannot be used afterwards.
    pub async fn close(&self) {
        self.sqlite.close().await;
    }
}

/// For inserts: a row that is there already is a conflict about `what`.
fn inserting(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => StoreError::Conflict(what),
        _ => error.into(),
    }
}
