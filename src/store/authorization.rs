//! What our authorization server keeps: clients, grants, authorization codes, browser flows.

use super::housekeeping::announce;
use super::sqlite::Columns;
use super::{AuthorizationCode, Change, Client, ClientDocument, Flow, Grant, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::{Digest, GrantId, UserId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

impl Store {
    /// Adds a client.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id is taken in its realm.
    pub async fn insert_client(&self, client: &Client) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO clients (realm, id, metadata, secret, registration_token, created_at, last_used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&client.realm)
        .bind(&client.id)
        .bind(&client.metadata)
        .bind(client.secret.as_ref().map(|digest| &digest.0[..]))
        .bind(&client.registration_token.0[..])
        .bind(client.created_at.0)
        .bind(client.last_used_at.map(|at| at.0));
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// The client of an id at one issuer.
    pub async fn client(&self, realm: &str, id: &str) -> Result<Option<Client>, StoreError> {
        let query = sqlx::query("SELECT * FROM clients WHERE realm = ? AND id = ?").bind(realm).bind(id);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(client_of).transpose()
    }

    /// All clients, newest first.
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let query = sqlx::query("SELECT * FROM clients ORDER BY created_at DESC, id");
        query.fetch_all(self.sqlite.readers()).await?.iter().map(client_of).collect()
    }

    /// Notes that a client got a token.
    pub async fn touch_client(&self, realm: &str, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE clients SET last_used_at = ? WHERE realm = ? AND id = ?");
        Ok(query.bind(now.0).bind(realm).bind(id).execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Removes a client; false when there is none.
    pub async fn delete_client(&self, realm: &str, id: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM clients WHERE realm = ? AND id = ?").bind(realm).bind(id);
        Ok(query.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Keeps a client ID metadata document.
    pub async fn put_client_document(&self, document: &ClientDocument) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO client_documents (url, body, fetched_at, fresh_until) VALUES (?, ?, ?, ?)
             ON CONFLICT (url) DO UPDATE SET body = excluded.body, fetched_at = excluded.fetched_at,
                 fresh_until = excluded.fresh_until",
        )
        .bind(&document.url)
        .bind(&document.body)
        .bind(document.fetched_at.0)
        .bind(document.fresh_until.0);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// A client ID metadata document that was fetched earlier, fresh or not.
    pub async fn client_document(&self, url: &str) -> Result<Option<ClientDocument>, StoreError> {
        let query = sqlx::query("SELECT * FROM client_documents WHERE url = ?").bind(url);
        let row = query.fetch_optional(self.sqlite.readers()).await?;
        row.as_ref()
            .map(|row| {
                let row = Columns(row);
                Ok(ClientDocument {
                    url: row.get("url")?,
                    body: row.get("body")?,
                    fetched_at: row.time("fetched_at")?,
                    fresh_until: row.time("fresh_until")?,
                })
            })
            .transpose()
    }

    /// Writes a consent and the code that stands for it down, both or neither.
    pub async fn insert_grant(&self, grant: &Grant, code: &AuthorizationCode) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        sqlx::query(
            "INSERT INTO grants
                 (id, user_id, client_id, client_name, realm, resource, scope, created_at, revoked_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&grant.id.0[..])
        .bind(&grant.user.0[..])
        .bind(&grant.client_id)
        .bind(&grant.client_name)
        .bind(&grant.realm)
        .bind(&grant.resource)
        .bind(&grant.scope)
        .bind(grant.created_at.0)
        .bind(grant.revoked_at.map(|at| at.0))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO codes (code, grant_id, redirect_uri, code_challenge, expires_at, used_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&code.code.0[..])
        .bind(&code.grant.0[..])
        .bind(&code.redirect_uri)
        .bind(&code.code_challenge)
        .bind(code.expires_at.0)
        .bind(code.used_at.map(|at| at.0))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// A consent, revoked or not.
    pub async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        let query = sqlx::query("SELECT * FROM grants WHERE id = ?").bind(&id.0[..]);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(grant_of).transpose()
    }

    /// What a person has granted and not revoked, newest first.
    pub async fn grants_of(&self, user: UserId) -> Result<Vec<Grant>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM grants WHERE user_id = ? AND revoked_at IS NULL ORDER BY created_at DESC, id",
        );
        let rows = query.bind(&user.0[..]).fetch_all(self.sqlite.readers()).await?;
        rows.iter().map(grant_of).collect()
    }

    /// Revokes a grant and ends its codes and refresh tokens. False when it was revoked already, or never was.
    pub async fn revoke_grant(&self, id: GrantId, now: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar("SELECT id FROM grants WHERE id = ? AND revoked_at IS NULL").bind(id.0.to_vec());
        Ok(!self.revoke(query, now).await?.is_empty())
    }

    /// Revokes everything granted to a client at one issuer.
    pub async fn revoke_grants_of_client(
        &self,
        realm: &str,
        client_id: &str,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError> {
        let query =
            sqlx::query_scalar("SELECT id FROM grants WHERE realm = ? AND client_id = ? AND revoked_at IS NULL")
                .bind(realm.to_owned())
                .bind(client_id.to_owned());
        self.revoke(query, now).await
    }

    /// Revokes everything that a person granted.
    pub async fn revoke_grants_of_user(&self, user: UserId, now: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        let query =
            sqlx::query_scalar("SELECT id FROM grants WHERE user_id = ? AND revoked_at IS NULL").bind(user.0.to_vec());
        self.revoke(query, now).await
    }

    /// Grants revoked at or after a moment.
    pub async fn grants_revoked_since(&self, since: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        let query = sqlx::query("SELECT id FROM grants WHERE revoked_at >= ?").bind(since.0);
        let rows = query.fetch_all(self.sqlite.readers()).await?;
        rows.iter().map(|row| Columns(row).id("id").map(GrantId)).collect()
    }

    /// Revokes the grants that `selection` selects.
    async fn revoke(&self, selection: Selection<'_>, now: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let mut revoked = Vec::new();
        for id in selection.fetch_all(&mut *transaction).await? {
            let id = GrantId(id.try_into().map_err(|_| StoreError::Damaged("id"))?);
            revoke_one(&mut transaction, id, now).await?;
            revoked.push(id);
        }
        transaction.commit().await?;
        Ok(revoked)
    }

    /// An authorization code, used or not.
    pub async fn code(&self, code: &Digest) -> Result<Option<AuthorizationCode>, StoreError> {
        let query = sqlx::query("SELECT * FROM codes WHERE code = ?").bind(&code.0[..]);
        let row = query.fetch_optional(self.sqlite.readers()).await?;
        row.as_ref()
            .map(|row| {
                let row = Columns(row);
                Ok(AuthorizationCode {
                    code: row.digest("code")?,
                    grant: GrantId(row.id("grant_id")?),
                    redirect_uri: row.get("redirect_uri")?,
                    code_challenge: row.get("code_challenge")?,
                    expires_at: row.time("expires_at")?,
                    used_at: row.optional_time("used_at")?,
                })
            })
            .transpose()
    }

    /// Uses a code up. Exactly one caller ever gets true.
    pub async fn consume_code(&self, code: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query("UPDATE codes SET used_at = ? WHERE code = ? AND used_at IS NULL");
        let updated = query.bind(now.0).bind(&code.0[..]).execute(self.sqlite.writer()).await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Begins to wait for a browser.
    pub async fn insert_flow(&self, flow: &Flow) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO flows (id, session, data, expires_at) VALUES (?, ?, ?, ?)")
            .bind(&flow.id.0[..])
            .bind(&flow.session.0[..])
            .bind(&flow.data)
            .bind(flow.expires_at.0);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// A flow, unless it has expired.
    pub async fn flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        let query = sqlx::query("SELECT * FROM flows WHERE id = ? AND expires_at > ?").bind(&id.0[..]).bind(now.0);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(flow_of).transpose()
    }

    /// Replaces what a flow knows.
    pub async fn update_flow(&self, id: &Digest, data: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE flows SET data = ? WHERE id = ?").bind(data).bind(&id.0[..]);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Takes a flow away, unless it has expired. Exactly one caller gets it.
    pub async fn take_flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        let query = sqlx::query("DELETE FROM flows WHERE id = ? AND expires_at > ? RETURNING *");
        let row = query.bind(&id.0[..]).bind(now.0).fetch_optional(self.sqlite.writer()).await?;
        row.as_ref().map(flow_of).transpose()
    }
}

/// A query for the ids of grants.
type Selection<'q> = sqlx::query::QueryScalar<'q, Sqlite, Vec<u8>, sqlx::sqlite::SqliteArguments>;

async fn revoke_one(
    transaction: &mut Transaction<'static, Sqlite>,
    id: GrantId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE grants SET revoked_at = ? WHERE id = ?").bind(now.0).bind(&id.0[..]);
    query.execute(&mut **transaction).await?;
    // A used code stays, so that its replay is still recognised as one.
    for statement in
        ["DELETE FROM codes WHERE grant_id = ? AND used_at IS NULL", "DELETE FROM refresh_tokens WHERE grant_id = ?"]
    {
        sqlx::query(statement).bind(&id.0[..]).execute(&mut **transaction).await?;
    }
    announce(transaction, Change::GrantRevoked(id)).await
}

fn client_of(row: &SqliteRow) -> Result<Client, StoreError> {
    let row = Columns(row);
    Ok(Client {
        realm: row.get("realm")?,
        id: row.get("id")?,
        metadata: row.get("metadata")?,
        secret: row.optional_digest("secret")?,
        registration_token: row.digest("registration_token")?,
        created_at: row.time("created_at")?,
        last_used_at: row.optional_time("last_used_at")?,
    })
}

fn grant_of(row: &SqliteRow) -> Result<Grant, StoreError> {
    let row = Columns(row);
    Ok(Grant {
        id: GrantId(row.id("id")?),
        user: UserId(row.id("user_id")?),
        client_id: row.get("client_id")?,
        client_name: row.get("client_name")?,
        realm: row.get("realm")?,
        resource: row.get("resource")?,
        scope: row.get("scope")?,
        created_at: row.time("created_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}

fn flow_of(row: &SqliteRow) -> Result<Flow, StoreError> {
    let row = Columns(row);
    Ok(Flow {
        id: row.digest("id")?,
        session: row.digest("session")?,
        data: row.get("data")?,
        expires_at: row.time("expires_at")?,
    })
}
