//! Upstreams that an administrator decided about, what discovery found, and our registrations there.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;

impl Store {
    /// Adds or replaces a decision; whoever asked for it is answered.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the alias belongs to another upstream.
    pub async fn put_upstream(&self, upstream: &Upstream) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        let upsert = query(
            "INSERT INTO upstreams (authority, decision, alias, name, decided_by, decided_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET decision = excluded.decision, alias = excluded.alias,
                 name = excluded.name, decided_by = excluded.decided_by, decided_at = excluded.decided_at",
        );
        upsert
            .bind(&upstream.authority)
            .bind(upstream.decision)
            .bind(&upstream.alias)
            .bind(&upstream.name)
            .bind(upstream.decided_by)
            .bind(upstream.decided_at)
            .execute(&mut transaction)
            .await
            .map_err(inserting("an upstream of that alias"))?;
        let answered = query("DELETE FROM upstream_requests WHERE authority = ?").bind(&upstream.authority);
        answered.execute(&mut transaction).await?;
        transaction.record(Change::UpstreamsChanged);
        transaction.commit().await
    }

    /// The decision about an upstream.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstream(&self, authority: &str) -> Result<Option<Upstream>, StoreError> {
        let select = query_as("SELECT * FROM upstreams WHERE authority = ?").bind(authority);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Upstream>)
    }

    /// All decisions.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstreams(&self) -> Result<Vec<Upstream>, StoreError> {
        let select = query_as("SELECT * FROM upstreams ORDER BY authority");
        select.fetch_all(self.database.readers()).await.map_err(reading::<Upstream>)
    }

    /// Forgets a decision; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_upstream(&self, authority: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let delete = query("DELETE FROM upstreams WHERE authority = ?").bind(authority);
        let deleted = delete.execute(&mut transaction).await?.rows_affected() > 0;
        if deleted {
            transaction.record(Change::UpstreamsChanged);
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Keeps what discovery found, in place of what it found before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_discovery(&self, discovery: &Discovery) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO discoveries (authority, document, found_at) VALUES (?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET document = excluded.document, found_at = excluded.found_at",
        );
        upsert
            .bind(&discovery.authority)
            .bind(&discovery.document)
            .bind(discovery.found_at)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// What discovery found.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn discovery(&self, authority: &str) -> Result<Option<Discovery>, StoreError> {
        let select = query_as("SELECT * FROM discoveries WHERE authority = ?").bind(authority);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Discovery>)
    }

    /// Keeps a registration of ours, in place of an earlier one with the same redirect URI.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_upstream_client(&self, client: &UpstreamClient) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO upstream_clients
                 (issuer, redirect_uri, client_id, sealed_secret, auth_method, expires_at, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (issuer, redirect_uri) DO UPDATE SET client_id = excluded.client_id,
                 sealed_secret = excluded.sealed_secret, auth_method = excluded.auth_method,
                 expires_at = excluded.expires_at, created_at = excluded.created_at",
        );
        upsert
            .bind(&client.issuer)
            .bind(&client.redirect_uri)
            .bind(&client.client_id)
            .bind(&client.sealed_secret)
            .bind(&client.auth_method)
            .bind(client.expires_at)
            .bind(client.created_at)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// Our registration at an issuer.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstream_client(
        &self,
        issuer: &str,
        redirect_uri: &str,
    ) -> Result<Option<UpstreamClient>, StoreError> {
        let select = query_as("SELECT * FROM upstream_clients WHERE issuer = ? AND redirect_uri = ?");
        let select = select.bind(issuer).bind(redirect_uri);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<UpstreamClient>)
    }

    /// Forgets a registration; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_upstream_client(&self, issuer: &str, redirect_uri: &str) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM upstream_clients WHERE issuer = ? AND redirect_uri = ?");
        let done = delete.bind(issuer).bind(redirect_uri).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }
}
