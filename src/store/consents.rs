//! Consents that people do not want to be asked for again. They end with any grant of the same client at the same realm.

use super::columns::reading;
use super::database::{Transaction, query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

impl Store {
    /// Remembers a consent in place of an earlier one to the same client for the same resource.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remember_consent(&self, consent: &RememberedConsent) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO remembered_consents (user_id, realm, client_id, resource, redirect_host, scope, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (user_id, realm, client_id, resource, redirect_host)
             DO UPDATE SET scope = excluded.scope, expires_at = excluded.expires_at",
        );
        upsert
            .bind(consent.user)
            .bind(&consent.realm)
            .bind(&consent.client_id)
            .bind(&consent.resource)
            .bind(&consent.redirect_host)
            .bind(&consent.scope)
            .bind(consent.expires_at)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// A person's remembered consents to a client at a realm that have not expired.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn remembered_consents(
        &self,
        user: UserId,
        (realm, client_id): (&str, &str),
        now: Timestamp,
    ) -> Result<Vec<RememberedConsent>, StoreError> {
        let select = query_as(
            "SELECT * FROM remembered_consents WHERE user_id = ? AND realm = ? AND client_id = ? AND expires_at > ?",
        );
        let select = select.bind(user).bind(realm).bind(client_id).bind(now);
        select.fetch_all(self.database.readers()).await.map_err(reading::<RememberedConsent>)
    }

    /// Keeps a consent that was just relied upon for longer, if it is still there.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prolong_consent(&self, consent: &RememberedConsent, until: Timestamp) -> Result<(), StoreError> {
        let update = query(
            "UPDATE remembered_consents SET expires_at = ?
             WHERE user_id = ? AND realm = ? AND client_id = ? AND resource = ? AND redirect_host = ?",
        );
        update
            .bind(until)
            .bind(consent.user)
            .bind(&consent.realm)
            .bind(&consent.client_id)
            .bind(&consent.resource)
            .bind(&consent.redirect_host)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }
}

/// What follows from the end of a grant: whoever takes one back wants to be asked again.
pub(super) async fn forget(transaction: &mut Transaction, grant: GrantId) -> Result<(), StoreError> {
    let delete = query(
        "DELETE FROM remembered_consents WHERE (user_id, realm, client_id) =
             (SELECT user_id, realm, client_id FROM grants WHERE id = ?)",
    );
    delete.bind(grant).execute(&mut *transaction).await?;
    Ok(())
}
