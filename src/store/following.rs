//! Following the journal of changes: what happened since a process read it last, and whether it can be told at all.

use super::database::{Bind as _, QueryBuilder};
use super::*;
use crate::ids::ConnectionId;

/// How many ids one statement names.
const SOME: usize = 500;

/// How far a process has read the journal of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalPosition {
    /// The newest entry that it read; 0 before the first one.
    newest: i64,
}

/// What happened since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These changes, oldest first, and how far they lead. `None` stands for one that this version does not understand, which
    /// must not hide those that come after it.
    Changes(Vec<Option<Change>>, JournalPosition),
    /// The entry that was read last is not there any more: it was swept ([`changes::KEPT`]), or this is another database than
    /// before, such as a replica that did not have everything. Everything has to be read again.
    Lost,
}

impl Store {
    /// Where the journal ends; a process reads it before it loads anything into memory.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn journal_position(&self) -> Result<JournalPosition, StoreError> {
        Ok(JournalPosition { newest: self.latest_change().await? })
    }

    /// What happened since `position`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn news_since(&self, position: &JournalPosition) -> Result<News, StoreError> {
        // With the last known one, which must still be there.
        let mut entries = self.changes_after(position.newest - 1).await?.into_iter().peekable();
        if position.newest > 0 && entries.next_if(|(number, _)| *number == position.newest).is_none() {
            return Ok(News::Lost);
        }
        let mut position = position.clone();
        let changes = entries.map(|(number, change)| {
            position.newest = number;
            change
        });
        Ok(News::Changes(changes.collect(), position))
    }

    /// Version and state of those of these connections that there are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn states_of_connections(
        &self,
        ids: &[ConnectionId],
    ) -> Result<Vec<(ConnectionId, i64, ConnectionState)>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(SOME) {
            let mut select = QueryBuilder::new("SELECT id, version, state FROM connections WHERE id IN ");
            select.push_tuple(some.iter().map(|id| id.value()));
            let rows: Vec<(ConnectionId, i64, ConnectionState)> =
                select.build_query_as().fetch_all(self.database.readers()).await?;
            found.extend(rows);
        }
        Ok(found)
    }
}
