//! Who people are at identity providers. The key is the provider's issuer and its subject, never a name or an e-mail
//! address: those are given to somebody else some day.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as};
use super::*;
use crate::ids::UserId;

/// What becomes of a request to forget an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It is gone.
    Done,
    /// The person could not sign in any more, so it stays.
    LastWayIn,
    /// The person has no such identity.
    Unknown,
}

impl Store {
    /// Who this is here.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn identity(&self, issuer: &str, subject: &str) -> Result<Option<LinkedIdentity>, StoreError> {
        let select = query_as("SELECT * FROM identities WHERE issuer = ? AND subject = ?").bind(issuer).bind(subject);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<LinkedIdentity>)
    }

    /// Who a person is elsewhere, the oldest link first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn identities_of(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let select =
            query_as("SELECT * FROM identities WHERE user_id = ? ORDER BY created_at, issuer, subject").bind(user);
        select.fetch_all(self.database.readers()).await.map_err(reading::<LinkedIdentity>)
    }

    /// Adds a person together with the identity that they come with: both or neither.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken, or the identity is somebody's already ([`Store::identity`] tells).
    pub async fn create_user_with_identity(&self, user: &User, identity: &LinkedIdentity) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        accounts::insert_user(&mut transaction, user).await?;
        insert(&mut transaction, identity).await?;
        transaction.commit().await
    }

    /// Links an identity to a person who is there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is somebody's already.
    pub async fn link_identity(&self, identity: &LinkedIdentity) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        insert(&mut transaction, identity).await?;
        transaction.commit().await
    }

    /// Notes that an identity was used, and what its provider says by now. An e-mail address that a person has from this
    /// identity follows it; a person without one gets it. `false` when nobody has the identity any more.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn use_identity(&self, now: &LinkedIdentity) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Person(now.user)).await?;
        let select = query_as("SELECT * FROM identities WHERE issuer = ? AND subject = ? AND user_id = ?");
        let select = select.bind(&now.issuer).bind(&now.subject).bind(now.user);
        let before: Option<LinkedIdentity> =
            select.fetch_optional(&mut transaction).await.map_err(reading::<LinkedIdentity>)?;
        let Some(before) = before else { return Ok(false) };
        query("UPDATE identities SET provider = ?, name = ?, email = ?, last_used_at = ? WHERE issuer = ? AND subject = ?")
            .bind(&now.provider)
            .bind(&now.name)
            .bind(&now.email)
            .bind(now.last_used_at)
            .bind(&now.issuer)
            .bind(&now.subject)
            .execute(&mut transaction)
            .await?;
        let update = query("UPDATE users SET email = ? WHERE id = ? AND (email IS NULL OR email = ?)");
        update.bind(&now.email).bind(now.user).bind(&before.email).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Forgets an identity of a person, unless `suffices` says that what remains is not enough to sign in with. The e-mail
    /// address that came from it goes too.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn unlink_identity(
        &self,
        user: UserId,
        (issuer, subject): (&str, &str),
        suffices: impl FnOnce(&User, &[LinkedIdentity]) -> bool + Send,
    ) -> Result<Unlinked, StoreError> {
        // Alone: of the last two ways in each would suffice without the other.
        let mut transaction = self.database.transaction_alone(Lock::Person(user)).await?;
        let person: Option<User> = query_as("SELECT * FROM users WHERE id = ?")
            .bind(user)
            .fetch_optional(&mut transaction)
            .await
            .map_err(reading::<User>)?;
        let mut remaining: Vec<LinkedIdentity> = query_as("SELECT * FROM identities WHERE user_id = ?")
            .bind(user)
            .fetch_all(&mut transaction)
            .await
            .map_err(reading::<LinkedIdentity>)?;
        let position = remaining.iter().position(|one| one.issuer == issuer && one.subject == subject);
        let (Some(person), Some(position)) = (person, position) else { return Ok(Unlinked::Unknown) };
        let gone = remaining.swap_remove(position);
        if !suffices(&person, &remaining) {
            return Ok(Unlinked::LastWayIn);
        }
        let delete = query("DELETE FROM identities WHERE issuer = ? AND subject = ?").bind(issuer).bind(subject);
        delete.execute(&mut transaction).await?;
        let update = query("UPDATE users SET email = NULL WHERE id = ? AND email = ?").bind(user).bind(&gone.email);
        update.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Unlinked::Done)
    }
}

async fn insert(transaction: &mut Transaction, identity: &LinkedIdentity) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO identities (issuer, subject, provider, user_id, name, email, created_at, last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .bind(&identity.provider)
        .bind(identity.user)
        .bind(&identity.name)
        .bind(&identity.email)
        .bind(identity.created_at)
        .bind(identity.last_used_at)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("that identity"))?;
    Ok(())
}
