//! Clients: registered by themselves or made by an administrator, and the documents of those that name one.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;

/// How many clients that never got a token there may be.
#[derive(Clone, Copy, Debug)]
pub struct RoomForClients {
    /// In all realms together.
    pub most: u32,
    /// One that registered before this moment makes room for a new one.
    pub gives_way_before: Timestamp,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is kept.
    Kept,
    /// There are too many unused clients, all of them too young to give way; the oldest registered then.
    NoRoom(Timestamp),
}

impl Store {
    /// Keeps a client.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the realm has a client of that id.
    pub async fn insert_client(&self, client: &Client) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        insert(&mut transaction, client).await?;
        transaction.commit().await
    }

    /// Keeps a registration, if need be in the place of the oldest one that was never used.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the realm has a client of that id.
    pub async fn register_client(&self, client: &Client, room: RoomForClients) -> Result<Registered, StoreError> {
        // Alone, because two that count the same would both take the last place.
        let mut transaction = self.database.transaction_alone(Lock::RoomForClients).await?;
        let count = "SELECT COUNT(*) FROM clients WHERE last_used_at IS NULL AND owner_id IS NULL";
        let unused: i64 = query_scalar(count).fetch_one(&mut transaction).await?;
        let beyond = unused + 1 - i64::from(room.most);
        if beyond > 0 {
            // The outer condition is for one that gets its first token at this moment.
            let evict = "DELETE FROM clients WHERE last_used_at IS NULL AND (realm, id) IN
                             (SELECT realm, id FROM clients WHERE last_used_at IS NULL AND owner_id IS NULL
                              AND created_at < ? ORDER BY created_at LIMIT ?)";
            let evict = query(evict).bind(room.gives_way_before).bind(beyond);
            let evicted = evict.execute(&mut transaction).await?.rows_affected();
            if i64::try_from(evicted).unwrap_or(i64::MAX) < beyond {
                let oldest = "SELECT MIN(created_at) FROM clients WHERE last_used_at IS NULL AND owner_id IS NULL";
                let oldest: Option<Timestamp> = query_scalar(oldest).fetch_one(&mut transaction).await?;
                // What was evicted is gone in any case: the limit may have been lowered.
                transaction.commit().await?;
                return Ok(Registered::NoRoom(oldest.unwrap_or(room.gives_way_before)));
            }
        }
        insert(&mut transaction, client).await?;
        transaction.commit().await?;
        Ok(Registered::Kept)
    }

    /// Replaces what a client can change of itself; `false` when there is no such client any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_client(&self, client: &Client) -> Result<bool, StoreError> {
        let update = query("UPDATE clients SET metadata = ?, secret = ?, expires_at = ? WHERE realm = ? AND id = ?");
        let update = update.bind(&client.metadata).bind(client.secret).bind(client.expires_at);
        let update = update.bind(&client.realm).bind(&client.id).execute(self.database.writer()).await?;
        Ok(update.rows_affected() > 0)
    }

    /// Realm and id of the clients whose registration has ended.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn expired_clients(&self, now: Timestamp) -> Result<Vec<(String, String)>, StoreError> {
        let select = query_as("SELECT realm, id FROM clients WHERE expires_at <= ?").bind(now);
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// A client of a realm.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn client(&self, realm: &str, id: &str) -> Result<Option<Client>, StoreError> {
        let select = query_as("SELECT * FROM clients WHERE realm = ? AND id = ?").bind(realm).bind(id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Client>)
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let select = query_as("SELECT * FROM clients ORDER BY created_at, realm, id");
        select.fetch_all(self.database.readers()).await.map_err(reading::<Client>)
    }

    /// Notes that a client got a token.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn touch_client(&self, realm: &str, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let update = query("UPDATE clients SET last_used_at = ? WHERE realm = ? AND id = ?");
        update.bind(now).bind(realm).bind(id).execute(self.database.writer()).await?;
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
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// A client metadata document, fresh or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn client_document(&self, url: &str) -> Result<Option<ClientDocument>, StoreError> {
        let select = query_as("SELECT * FROM client_documents WHERE url = ?").bind(url);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<ClientDocument>)
    }
}

async fn insert(transaction: &mut Transaction, client: &Client) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO clients
             (realm, id, metadata, secret, registration_token, created_at, last_used_at, owner_id, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(&client.realm)
        .bind(&client.id)
        .bind(&client.metadata)
        .bind(client.secret)
        .bind(client.registration_token)
        .bind(client.created_at)
        .bind(client.last_used_at)
        .bind(client.owner)
        .bind(client.expires_at)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("a client of that id"))?;
    Ok(())
}
