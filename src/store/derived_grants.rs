//! Grants that clients derive from a person's grant by token exchange (RFC 8693). They end with it, but not it with them.

use super::database::{Lock, query, query_scalar};
use super::*;
use crate::ids::GrantId;

impl Store {
    /// The grant in force that this client got out of `parent`, or `grant` itself, kept as that. `None` when `parent` is
    /// not in force or the client is not registered any more. It ends with `parent`, whatever ends that.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a grant of that id.
    pub async fn derive_grant(&self, parent: GrantId, grant: &Grant) -> Result<Option<GrantId>, StoreError> {
        // Alone with the client: two that find nothing would both insert, and its registration may be going.
        let mut transaction = self.database.transaction_alone(Lock::Client(&grant.client_id)).await?;
        let select = query_scalar(
            "SELECT id FROM grants WHERE parent_id = ? AND realm = ? AND client_id = ? AND revoked_at IS NULL",
        );
        let select = select.bind(parent).bind(&grant.realm).bind(&grant.client_id);
        if let Some(known) = select.fetch_optional(&mut transaction).await? {
            return Ok(Some(known));
        }
        // Held, so that whoever revokes it finds what was derived from it.
        if !grants::hold(&mut transaction, parent).await? {
            return Ok(None);
        }
        let insert = query(
            "INSERT INTO grants (id, user_id, client_id, client_name, realm, resource, scope, created_at, parent_id)
             SELECT ?, user_id, ?, ?, ?, ?, ?, ?, id FROM grants WHERE id = ? AND EXISTS (SELECT 1 FROM clients WHERE realm = ? AND id = ?)",
        );
        let inserted = insert
            .bind(grant.id)
            .bind(&grant.client_id)
            .bind(&grant.client_name)
            .bind(&grant.realm)
            .bind(&grant.resource)
            .bind(&grant.scope)
            .bind(grant.created_at)
            .bind(parent)
            .bind(&grant.realm)
            .bind(&grant.client_id)
            .execute(&mut transaction)
            .await
            .map_err(inserting("that grant"))?;
        transaction.commit().await?;
        Ok((inserted.rows_affected() > 0).then_some(grant.id))
    }

    /// The grants that were derived from one, revoked or not.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn derived_grants(&self, parent: GrantId) -> Result<Vec<GrantId>, StoreError> {
        let select = query_scalar("SELECT id FROM grants WHERE parent_id = ?").bind(parent);
        Ok(select.fetch_all(self.database.readers()).await?)
    }
}
