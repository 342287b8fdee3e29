//! The database. Only this module names sqlx; everything above speaks in records and in transitions that are atomic.

mod accounts;
mod authorization;
mod connections;
mod housekeeping;
mod keys;
mod records;
mod sqlite;
mod upstreams;

pub use records::*;

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something with that name or id is there already.
    #[error("{0} exists already")]
    Conflict(&'static str),
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
        crate::error::Fault::gateway(error)
    }
}

/// A handle to the database; cloning shares it.
#[derive(Clone)]
pub struct Store {
    sqlite: sqlite::Pools,
}

impl Store {
    /// Opens `sqlite:///path` or `sqlite::memory:`, creating and migrating it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] naming the file and what to do about it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self { sqlite: sqlite::Pools::open(url).await? })
    }
}
