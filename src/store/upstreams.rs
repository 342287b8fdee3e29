//! Upstreams that an administrator decided about, what discovery found, and our registrations there.

use super::housekeeping::announce;
use super::sqlite::Columns;
use super::{Change, Decision, Discovery, Store, StoreError, Upstream, UpstreamClient};
use crate::ids::UserId;
use sqlx::sqlite::SqliteRow;

impl Store {
    /// Writes a decision down, replacing an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the alias belongs to another upstream.
    pub async fn put_upstream(&self, upstream: &Upstream) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let written = sqlx::query(
            "INSERT INTO upstreams (authority, decision, alias, name, decided_by, decided_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET decision = excluded.decision, alias = excluded.alias,
                 name = excluded.name, decided_by = excluded.decided_by, decided_at = excluded.decided_at",
        )
        .bind(&upstream.authority)
        .bind(match upstream.decision {
            Decision::Approved => "approved",
            Decision::Denied => "denied",
        })
        .bind(&upstream.alias)
        .bind(&upstream.name)
        .bind(upstream.decided_by.as_ref().map(|id| &id.0[..]))
        .bind(upstream.decided_at.0)
        .execute(&mut *transaction)
        .await;
        match written.map_err(StoreError::from) {
            Err(StoreError::Conflict(_)) => return Err(StoreError::Conflict("an upstream with that alias")),
            other => other?,
        };
        announce(&mut transaction, Change::UpstreamsChanged).await?;
        Ok(transaction.commit().await?)
    }

    /// The decision about an upstream.
    pub async fn upstream(&self, authority: &str) -> Result<Option<Upstream>, StoreError> {
        let query = sqlx::query("SELECT * FROM upstreams WHERE authority = ?").bind(authority);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(upstream_of).transpose()
    }

    /// All decisions, by authority.
    pub async fn upstreams(&self) -> Result<Vec<Upstream>, StoreError> {
        let query = sqlx::query("SELECT * FROM upstreams ORDER BY authority");
        query.fetch_all(self.sqlite.readers()).await?.iter().map(upstream_of).collect()
    }

    /// Forgets a decision; false when there is none.
    pub async fn delete_upstream(&self, authority: &str) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let query = sqlx::query("DELETE FROM upstreams WHERE authority = ?").bind(authority);
        let deleted = query.execute(&mut *transaction).await?.rows_affected() > 0;
        announce(&mut transaction, Change::UpstreamsChanged).await?;
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Keeps what discovery found.
    pub async fn put_discovery(&self, discovery: &Discovery) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO discoveries (authority, document, found_at) VALUES (?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET document = excluded.document, found_at = excluded.found_at",
        )
        .bind(&discovery.authority)
        .bind(&discovery.document)
        .bind(discovery.found_at.0);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// What discovery found earlier.
    pub async fn discovery(&self, authority: &str) -> Result<Option<Discovery>, StoreError> {
        let query = sqlx::query("SELECT * FROM discoveries WHERE authority = ?").bind(authority);
        let row = query.fetch_optional(self.sqlite.readers()).await?;
        row.as_ref()
            .map(|row| {
                let row = Columns(row);
                Ok(Discovery {
                    authority: row.get("authority")?,
                    document: row.get("document")?,
                    found_at: row.time("found_at")?,
                })
            })
            .transpose()
    }

    /// Keeps a registration of ours, replacing an earlier one at the same issuer.
    pub async fn put_upstream_client(&self, client: &UpstreamClient) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO upstream_clients
                 (issuer, redirect_uri, client_id, sealed_secret, auth_method, expires_at, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (issuer, redirect_uri) DO UPDATE SET client_id = excluded.client_id,
                 sealed_secret = excluded.sealed_secret, auth_method = excluded.auth_method,
                 expires_at = excluded.expires_at, created_at = excluded.created_at",
        )
        .bind(&client.issuer)
        .bind(&client.redirect_uri)
        .bind(&client.client_id)
        .bind(&client.sealed_secret)
        .bind(&client.auth_method)
        .bind(client.expires_at.map(|at| at.0))
        .bind(client.created_at.0);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// A registration of ours.
    pub async fn upstream_client(&self, issuer: &str, redirect_uri: &str) -> Result<Option<UpstreamClient>, StoreError> {
        let query = sqlx::query("SELECT * FROM upstream_clients WHERE issuer = ? AND redirect_uri = ?");
        let row = query.bind(issuer).bind(redirect_uri).fetch_optional(self.sqlite.readers()).await?;
        row.as_ref()
            .map(|row| {
                let row = Columns(row);
                Ok(UpstreamClient {
                    issuer: row.get("issuer")?,
                    redirect_uri: row.get("redirect_uri")?,
                    client_id: row.get("client_id")?,
                    sealed_secret: row.get("sealed_secret")?,
                    auth_method: row.get("auth_method")?,
                    expires_at: row.optional_time("expires_at")?,
                    created_at: row.time("created_at")?,
                })
            })
            .transpose()
    }

    /// Forgets a registration of ours; false when there is none.
    pub async fn delete_upstream_client(&self, issuer: &str, redirect_uri: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM upstream_clients WHERE issuer = ? AND redirect_uri = ?");
        let deleted = query.bind(issuer).bind(redirect_uri).execute(self.sqlite.writer()).await?;
        Ok(deleted.rows_affected() > 0)
    }
}

fn upstream_of(row: &SqliteRow) -> Result<Upstream, StoreError> {
    let row = Columns(row);
    Ok(Upstream {
        authority: row.get("authority")?,
        decision: match row.get("decision")? {
            "approved" => Decision::Approved,
            "denied" => Decision::Denied,
            _ => return Err(StoreError::Damaged("decision")),
        },
        alias: row.get("alias")?,
        name: row.get("name")?,
        decided_by: row.optional_id("decided_by")?.map(UserId),
        decided_at: row.time("decided_at")?,
    })
}
