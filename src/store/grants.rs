//! Grants, and the codes and refresh tokens that live under them. A revoked grant has neither.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

impl Store {
    /// Keeps a consent and the code that stands for it, where there is one: both or neither.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when either is there already.
    pub async fn insert_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        insert(&mut transaction, grant).await?;
        if let Some(code) = code {
            insert_code(&mut transaction, code).await?;
        }
        transaction.commit().await
    }

    /// The grant in force that is for the same person, client and resource as `grant`, or `grant` itself, kept: so that
    /// who asks again and again under no consent does not fill the table. `None` when the client has `most` already, or is
    /// not registered any more.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a grant of that id.
    pub async fn standing_grant(&self, grant: &Grant, most: u32) -> Result<Option<GrantId>, StoreError> {
        // Alone with the client: two that find room would both take it, and its registration may be going.
        let mut transaction = self.database.transaction_alone(Lock::Client(&grant.client_id)).await?;
        let select = "SELECT * FROM grants
             WHERE realm = ? AND client_id = ? AND user_id = ? AND revoked_at IS NULL AND parent_id IS NULL";
        let select = query_as(select).bind(&grant.realm).bind(&grant.client_id).bind(grant.user);
        let others: Vec<Grant> = select.fetch_all(&mut transaction).await.map_err(reading::<Grant>)?;
        if let Some(same) = others.iter().find(|other| other.resource == grant.resource) {
            return Ok(Some(same.id));
        }
        let registered = query_scalar("SELECT EXISTS (SELECT 1 FROM clients WHERE realm = ? AND id = ?)");
        let registered: bool = registered.bind(&grant.realm).bind(&grant.client_id).fetch_one(&mut transaction).await?;
        if others.len() >= most as usize || !registered {
            return Ok(None);
        }
        insert(&mut transaction, grant).await?;
        transaction.commit().await?;
        Ok(Some(grant.id))
    }

    /// A grant, revoked or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        let select = query_as("SELECT * FROM grants WHERE id = ?").bind(id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Grant>)
    }

    /// A person's grants that are in force, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn grants_of(&self, user: UserId) -> Result<Vec<Grant>, StoreError> {
        let select =
            query_as("SELECT * FROM grants WHERE user_id = ? AND revoked_at IS NULL ORDER BY created_at DESC, id DESC");
        select.bind(user).fetch_all(self.database.readers()).await.map_err(reading::<Grant>)
    }

    /// The clients that have grants in force, registered or not, with how many, by realm and id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn granted_clients(&self) -> Result<Vec<GrantedClient>, StoreError> {
        let select = query_as(
            "SELECT realm, client_id, MAX(client_name) AS client_name, COUNT(*) AS grants FROM grants
             WHERE revoked_at IS NULL GROUP BY realm, client_id ORDER BY realm, client_id",
        );
        select.fetch_all(self.database.readers()).await.map_err(reading::<GrantedClient>)
    }

    /// Ends a grant with its refresh tokens and codes; `false` when it was revoked before or is unknown.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_grant(&self, id: GrantId, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Revocations).await?;
        let update = query("UPDATE grants SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL").bind(now).bind(id);
        let revoked = update.execute(&mut transaction).await?.rows_affected() > 0;
        if revoked {
            end(&mut transaction, vec![id], now).await?;
        }
        transaction.commit().await?;
        Ok(revoked)
    }

    /// Removes a client's registration and ends all its grants, in one realm or in all of them: a client that names a
    /// metadata document has one id everywhere, and no registration. The grants that ended; `None` when there was neither.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_client(
        &self,
        realm: Option<&str>,
        client_id: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<GrantId>>, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Client(client_id)).await?;
        transaction.lock(Lock::Revocations).await?;
        let delete = query("DELETE FROM clients WHERE id = ? AND realm = COALESCE(?, realm)");
        let deleted = delete.bind(client_id).bind(realm).execute(&mut transaction).await?.rows_affected();
        query("DELETE FROM remembered_consents WHERE client_id = ? AND realm = COALESCE(?, realm)")
            .bind(client_id)
            .bind(realm)
            .execute(&mut transaction)
            .await?;
        let update = query_scalar(
            "UPDATE grants SET revoked_at = ?
             WHERE client_id = ? AND realm = COALESCE(?, realm) AND revoked_at IS NULL RETURNING id",
        );
        let revoked: Vec<GrantId> = update.bind(now).bind(client_id).bind(realm).fetch_all(&mut transaction).await?;
        let revoked = end(&mut transaction, revoked, now).await?;
        transaction.commit().await?;
        Ok((deleted > 0 || !revoked.is_empty()).then_some(revoked))
    }

    /// Ends all grants of a person; those that it ended.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_grants_of_user(&self, user: UserId, now: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Revocations).await?;
        let revoked = revoke_all_of(&mut transaction, user, now).await?;
        transaction.commit().await?;
        Ok(revoked)
    }

    /// Grants that were revoked at that moment or later.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn grants_revoked_since(&self, since: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        let select = query_scalar("SELECT id FROM grants WHERE revoked_at >= ?").bind(since);
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// A code, used or expired as it may be.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn code(&self, code: &Digest) -> Result<Option<AuthorizationCode>, StoreError> {
        let select = query_as("SELECT * FROM codes WHERE code = ?").bind(*code);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<AuthorizationCode>)
    }

    /// Uses a code that has not expired; exactly one caller ever gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn consume_code(&self, code: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        let update = query("UPDATE codes SET used_at = ? WHERE code = ? AND used_at IS NULL AND expires_at > ?");
        let update = update.bind(now).bind(*code).bind(now);
        Ok(update.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Keeps the first refresh token of a grant. If the grant was revoked in the meantime the token is not kept, and so
    /// it is worth nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is there already.
    pub async fn insert_refresh_token(&self, token: &RefreshToken) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        if hold(&mut transaction, token.grant).await? {
            insert_token(&mut transaction, token).await?;
        }
        transaction.commit().await
    }

    /// A refresh token, rotated or expired as it may be.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn refresh_token(&self, token: &Digest) -> Result<Option<RefreshToken>, StoreError> {
        let select = query_as("SELECT * FROM refresh_tokens WHERE token = ?").bind(*token);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<RefreshToken>)
    }

    /// Puts `new` in the place of `old`, which counts as used from then on. `false` when `old` has a successor already or
    /// its grant was revoked.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `new` is there already.
    pub async fn rotate_refresh_token(
        &self,
        old: &Digest,
        successor: &Successor,
        new: &RefreshToken,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        if !hold(&mut transaction, new.grant).await? {
            return Ok(false);
        }
        let update = query(
            "UPDATE refresh_tokens SET successor_token = ?, successor_sealed = ?, rotated_at = ?,
                 first_used_at = COALESCE(first_used_at, ?)
             WHERE token = ? AND successor_token IS NULL",
        );
        let rotated = update
            .bind(successor.token)
            .bind(&successor.sealed)
            .bind(successor.rotated_at)
            .bind(successor.rotated_at)
            .bind(*old)
            .execute(&mut transaction)
            .await?
            .rows_affected()
            > 0;
        if rotated {
            insert_token(&mut transaction, new).await?;
        }
        transaction.commit().await?;
        Ok(rotated)
    }

    /// Notes the first use of a refresh token; later uses change nothing.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn mark_refresh_token_used(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        let update = query("UPDATE refresh_tokens SET first_used_at = ? WHERE token = ? AND first_used_at IS NULL");
        update.bind(now).bind(*token).execute(self.database.writer()).await?;
        Ok(())
    }
}

/// Keeps a consent within a transaction.
pub(super) async fn insert(transaction: &mut Transaction, grant: &Grant) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO grants (id, user_id, client_id, client_name, realm, resource, scope, created_at, revoked_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(grant.id)
        .bind(grant.user)
        .bind(&grant.client_id)
        .bind(&grant.client_name)
        .bind(&grant.realm)
        .bind(&grant.resource)
        .bind(&grant.scope)
        .bind(grant.created_at)
        .bind(grant.revoked_at)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("that grant"))?;
    Ok(())
}

/// Whether a grant is in force; then it stays so until the transaction ends. Whoever touches what lives under a grant
/// begins with this, so that it is there when somebody revokes the grant, or the grant's end is seen here.
pub(super) async fn hold(transaction: &mut Transaction, grant: GrantId) -> Result<bool, StoreError> {
    let select = query_scalar("SELECT id FROM grants WHERE id = ? AND revoked_at IS NULL").bind(grant).held();
    let held: Option<GrantId> = select.fetch_optional(&mut *transaction).await?;
    Ok(held.is_some())
}

/// Revokes all grants of a person within a transaction that has [`Lock::Revocations`].
pub(super) async fn revoke_all_of(
    transaction: &mut Transaction,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<GrantId>, StoreError> {
    let update = query_scalar("UPDATE grants SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL RETURNING id");
    let revoked: Vec<GrantId> = update.bind(now).bind(user).fetch_all(&mut *transaction).await?;
    end(transaction, revoked, now).await
}

/// What follows from the revocation of grants; all that ended by it.
async fn end(
    transaction: &mut Transaction,
    mut revoked: Vec<GrantId>,
    now: Timestamp,
) -> Result<Vec<GrantId>, StoreError> {
    for parent in revoked.clone() {
        let update = "UPDATE grants SET revoked_at = ? WHERE parent_id = ? AND revoked_at IS NULL RETURNING id";
        let derived: Vec<GrantId> = query_scalar(update).bind(now).bind(parent).fetch_all(&mut *transaction).await?;
        revoked.extend(derived);
    }
    for grant in &revoked {
        query("DELETE FROM codes WHERE grant_id = ?").bind(*grant).execute(&mut *transaction).await?;
        query("DELETE FROM refresh_tokens WHERE grant_id = ?").bind(*grant).execute(&mut *transaction).await?;
        query("DELETE FROM device_codes WHERE grant_id = ?").bind(*grant).execute(&mut *transaction).await?;
        consents::forget(transaction, *grant).await?;
        transaction.record(Change::GrantRevoked(*grant));
    }
    Ok(revoked)
}

async fn insert_code(transaction: &mut Transaction, code: &AuthorizationCode) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO codes (code, grant_id, redirect_uri, code_challenge, expires_at, used_at, dpop_jkt)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(code.code)
        .bind(code.grant)
        .bind(&code.redirect_uri)
        .bind(&code.code_challenge)
        .bind(code.expires_at)
        .bind(code.used_at)
        .bind(&code.dpop_jkt)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("that authorization code"))?;
    Ok(())
}

/// For transactions that hold the grant.
async fn insert_token(transaction: &mut Transaction, token: &RefreshToken) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO refresh_tokens (token, grant_id, issued_at, expires_at, first_used_at, dpop_jkt)
         VALUES (?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(token.token)
        .bind(token.grant)
        .bind(token.issued_at)
        .bind(token.expires_at)
        .bind(token.first_used_at)
        .bind(&token.dpop_jkt)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("that refresh token"))?;
    Ok(())
}
