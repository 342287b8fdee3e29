//! What our authorization server keeps besides clients and grants: client metadata documents and browser flows.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

impl Store {
    /// Keeps a browser flow.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a flow with that handle.
    pub async fn insert_flow(&self, flow: &Flow) -> Result<(), StoreError> {
        query("INSERT INTO flows (id, session, data, expires_at) VALUES (?, ?, ?, ?)")
            .bind(flow.id)
            .bind(flow.session)
            .bind(&flow.data)
            .bind(flow.expires_at)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that flow"))?;
        Ok(())
    }

    /// A flow that has not expired.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        let select = query_as("SELECT * FROM flows WHERE id = ? AND expires_at > ?").bind(*id).bind(now);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Flow>)
    }

    /// Replaces the data of a flow, if it is still there.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_flow(&self, id: &Digest, data: &str) -> Result<(), StoreError> {
        query("UPDATE flows SET data = ? WHERE id = ?").bind(data).bind(*id).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Removes a flow; exactly one caller gets it, and nobody an expired one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn take_flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        // A transaction, because a lone `DELETE … RETURNING` hands out its row before it commits.
        let mut transaction = self.database.transaction().await?;
        let delete = query_as("DELETE FROM flows WHERE id = ? AND expires_at > ? RETURNING *").bind(*id).bind(now);
        let taken = delete.fetch_optional(&mut transaction).await.map_err(reading::<Flow>)?;
        transaction.commit().await?;
        Ok(taken)
    }
}
