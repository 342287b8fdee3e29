//! What our authorization server keeps besides grants: clients and browser flows.

use super::columns::reading;
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use sqlx::{query, query_as};

impl Store {
    /// Keeps a registration.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the realm has a client of that id.
    pub async fn insert_client(&self, client: &Client) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO clients (realm, id, metadata, secret, registration_token, created_at, last_used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(&client.realm)
            .bind(&client.id)
            .bind(&client.metadata)
            .bind(client.secret)
            .bind(client.registration_token)
            .bind(client.created_at)
            .bind(client.last_used_at)
            .execute(self.sqlite.writer())
            .await
            .map_err(inserting("a client of that id"))?;
        Ok(())
    }

    /// A client of a realm.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn client(&self, realm: &str, id: &str) -> Result<Option<Client>, StoreError> {
        let select = query_as("SELECT * FROM clients WHERE realm = ? AND id = ?").bind(realm).bind(id);
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<Client>)
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let select = query_as("SELECT * FROM clients ORDER BY created_at, realm, id");
        select.fetch_all(self.sqlite.readers()).await.map_err(reading::<Client>)
    }

    /// Notes that a client got a token.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn touch_client(&self, realm: &str, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let update = query("UPDATE clients SET last_used_at = ? WHERE realm = ? AND id = ?");
        update.bind(now).bind(realm).bind(id).execute(self.sqlite.writer()).await?;
        Ok(())
    }

    /// Keeps a fetched client metadata document in place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_client_document(&self, document: &ClientDocument) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO client_documents (url, body, fetched_at, fresh_until) VALUES (?, ?, ?, ?)
             ON CONFLICT (url) DO UPDATE SET body = excluded.body, fetched_at = excluded.fetched_at,
                 fresh_until = excluded.fresh_until",
        );
        upsert
            .bind(&document.url)
            .bind(&document.body)
            .bind(document.fetched_at)
            .bind(document.fresh_until)
            .execute(self.sqlite.writer())
            .await?;
        Ok(())
    }

    /// A client metadata document, fresh or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn client_document(&self, url: &str) -> Result<Option<ClientDocument>, StoreError> {
        let select = query_as("SELECT * FROM client_documents WHERE url = ?").bind(url);
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<ClientDocument>)
    }

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
            .execute(self.sqlite.writer())
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
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<Flow>)
    }

    /// Replaces the data of a flow, if it is still there.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_flow(&self, id: &Digest, data: &str) -> Result<(), StoreError> {
        query("UPDATE flows SET data = ? WHERE id = ?").bind(data).bind(*id).execute(self.sqlite.writer()).await?;
        Ok(())
    }

    /// Removes a flow; exactly one caller gets it, and nobody an expired one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn take_flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        // A transaction, because a lone `DELETE … RETURNING` hands out its row before it commits.
        let mut transaction = self.sqlite.transaction().await?;
        let delete = query_as("DELETE FROM flows WHERE id = ? AND expires_at > ? RETURNING *").bind(*id).bind(now);
        let taken = delete.fetch_optional(&mut *transaction).await.map_err(reading::<Flow>)?;
        transaction.commit().await?;
        Ok(taken)
    }
}
