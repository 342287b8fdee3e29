//! Who may use the upstreams that not everybody may use, as far as an administrator said so here and not in the
//! configuration.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;

impl Store {
    /// Says who may use an upstream, in place of what was said before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_upstream_access(&self, access: &UpstreamAccess) -> Result<(), StoreError> {
        let users: Vec<String> = access.users.iter().map(ToString::to_string).collect();
        let mut transaction = self.database.transaction().await?;
        let upsert = query(
            "INSERT INTO upstream_access (authority, users, groups) VALUES (?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET users = excluded.users, groups = excluded.groups",
        );
        upsert
            .bind(&access.authority)
            .bind(serde_json::json!(users).to_string())
            .bind(serde_json::json!(access.groups).to_string())
            .execute(&mut transaction)
            .await?;
        transaction.record(Change::UpstreamsChanged);
        transaction.commit().await
    }

    /// Who may use an upstream; `None`: nothing was said.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstream_access(&self, authority: &str) -> Result<Option<UpstreamAccess>, StoreError> {
        let select = query_as("SELECT * FROM upstream_access WHERE authority = ?").bind(authority);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<UpstreamAccess>)
    }

    /// Everything that was said.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn restricted_upstreams(&self) -> Result<Vec<UpstreamAccess>, StoreError> {
        let select = query_as("SELECT * FROM upstream_access ORDER BY authority");
        select.fetch_all(self.database.readers()).await.map_err(reading::<UpstreamAccess>)
    }

    /// Lets everybody use an upstream again; `false` when nothing was said.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_upstream_access(&self, authority: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let delete = query("DELETE FROM upstream_access WHERE authority = ?").bind(authority);
        let deleted = delete.execute(&mut transaction).await?.rows_affected() > 0;
        if deleted {
            transaction.record(Change::UpstreamsChanged);
        }
        transaction.commit().await?;
        Ok(deleted)
    }
}
