//! People.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

impl Store {
    /// Adds a person.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken, in whatever case.
    pub async fn create_user(&self, user: &User) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        insert_user(&mut transaction, user).await?;
        transaction.commit().await
    }

    /// A person by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let select = query_as("SELECT * FROM users WHERE id = ?").bind(id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<User>)
    }

    /// A person by name, ASCII case aside.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let select = query_as("SELECT * FROM users WHERE lower(name) = ?").bind(name.to_ascii_lowercase());
        select.fetch_optional(self.database.readers()).await.map_err(reading::<User>)
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        query_as("SELECT * FROM users ORDER BY lower(name)")
            .fetch_all(self.database.readers())
            .await
            .map_err(reading::<User>)
    }

    /// Whether there is an administrator who is not disabled.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn has_administrator(&self) -> Result<bool, StoreError> {
        let select = query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE role = ? AND NOT disabled)");
        Ok(select.bind(Role::Administrator).fetch_one(self.database.readers()).await?)
    }

    /// Replaces a person's password.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_password_hash(&self, id: UserId, hash: &str) -> Result<(), StoreError> {
        let update = query("UPDATE users SET password_hash = ? WHERE id = ?").bind(hash).bind(id);
        update.execute(self.database.writer()).await?;
        Ok(())
    }

    /// Lets nobody sign in as this person any more: sessions and grants end, connections stay. What ended, with the
    /// connections that must be used no longer; `None` when there is no such person.
    ///
    /// # Errors
    /// [`StoreError::LastAdministrator`], [`StoreError::Database`].
    pub async fn disable_user(&self, id: UserId, now: Timestamp) -> Result<Option<Ended>, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Administrators).await?;
        must_not_be_the_last_administrator(&mut transaction, id).await?;
        transaction.lock(Lock::Revocations).await?;
        let update = query("UPDATE users SET disabled = TRUE WHERE id = ?").bind(id);
        if update.execute(&mut transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        query("DELETE FROM sessions WHERE user_id = ?").bind(id).execute(&mut transaction).await?;
        let grants = grants::revoke_all_of(&mut transaction, id, now).await?;
        let connections = query_scalar("SELECT id FROM connections WHERE user_id = ?").bind(id);
        let connections = connections.fetch_all(&mut transaction).await?;
        transaction.record(Change::PeopleChanged);
        transaction.commit().await?;
        Ok(Some(Ended { grants, connections }))
    }

    /// The mark alone, without anything that follows from it: for tests of what must look at it.
    #[cfg(test)]
    pub(crate) async fn set_user_disabled(&self, id: UserId, disabled: bool) -> Result<(), StoreError> {
        query("UPDATE users SET disabled = ? WHERE id = ?")
            .bind(disabled)
            .bind(id)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// Lets a person sign in again; `false` when there is no such person.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn enable_user(&self, id: UserId) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let update = query("UPDATE users SET disabled = FALSE WHERE id = ?").bind(id);
        let found = update.execute(&mut transaction).await?.rows_affected() > 0;
        transaction.record(Change::PeopleChanged);
        transaction.commit().await?;
        Ok(found)
    }

    /// Gives a person a role; `false` when there is no such person.
    ///
    /// # Errors
    /// [`StoreError::LastAdministrator`], [`StoreError::Database`].
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Administrators).await?;
        if role != Role::Administrator {
            must_not_be_the_last_administrator(&mut transaction, id).await?;
        }
        let update = query("UPDATE users SET role = ? WHERE id = ?").bind(role).bind(id);
        let found = update.execute(&mut transaction).await?.rows_affected() > 0;
        transaction.commit().await?;
        Ok(found)
    }

    /// Those who may not sign in.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn disabled_users(&self) -> Result<Vec<UserId>, StoreError> {
        Ok(query_scalar("SELECT id FROM users WHERE disabled").fetch_all(self.database.readers()).await?)
    }

    /// Replaces a person's e-mail address.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_user_email(&self, id: UserId, email: Option<&str>) -> Result<(), StoreError> {
        query("UPDATE users SET email = ? WHERE id = ?").bind(email).bind(id).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Removes a person with sessions and connections. Grants are revoked and stay until they are swept, so that their
    /// access tokens stay dead after a restart. What ended; `None` when there is no such person.
    ///
    /// # Errors
    /// [`StoreError::LastAdministrator`], [`StoreError::Database`].
    pub async fn delete_user(&self, id: UserId, now: Timestamp) -> Result<Option<Ended>, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Administrators).await?;
        must_not_be_the_last_administrator(&mut transaction, id).await?;
        transaction.lock(Lock::Revocations).await?;
        let grants = grants::revoke_all_of(&mut transaction, id, now).await?;
        // Locked: no refresh puts newer tokens between the two statements.
        let select = query_scalar("SELECT id FROM connections WHERE user_id = ? ORDER BY id").bind(id).locked();
        let _: Vec<ConnectionId> = select.fetch_all(&mut transaction).await?;
        query(services::PART_FROM_ALL).bind(id).execute(&mut transaction).await?;
        let connections: Vec<ConnectionId> = query_scalar("DELETE FROM connections WHERE user_id = ? RETURNING id")
            .bind(id)
            .fetch_all(&mut transaction)
            .await?;
        for connection in &connections {
            transaction.record(Change::ConnectionChanged(*connection));
        }
        let deleted = query("DELETE FROM users WHERE id = ?").bind(id).execute(&mut transaction).await?;
        if deleted.rows_affected() > 0 {
            transaction.record(Change::PeopleChanged);
        }
        transaction.commit().await?;
        Ok((deleted.rows_affected() > 0).then_some(Ended { grants, connections }))
    }
}

/// For transactions that have [`Lock::Administrators`]: two administrators could take each other's place away otherwise.
/// Without one nobody could approve, disable or let in anybody, and the next start would offer the gateway to whoever
/// has its log.
async fn must_not_be_the_last_administrator(transaction: &mut Transaction, id: UserId) -> Result<(), StoreError> {
    let select = query_scalar("SELECT id FROM users WHERE role = ? AND NOT disabled LIMIT 2").bind(Role::Administrator);
    let administrators: Vec<UserId> = select.fetch_all(&mut *transaction).await?;
    if administrators == [id] { Err(StoreError::LastAdministrator) } else { Ok(()) }
}

/// Adds a person as part of something larger.
pub(super) async fn insert_user(transaction: &mut Transaction, user: &User) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO users (id, name, password_hash, email, role, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(user.id)
        .bind(&user.name)
        .bind(&user.password_hash)
        .bind(&user.email)
        .bind(user.role)
        .bind(user.disabled)
        .bind(user.created_at)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("a user of that name"))?;
    // Permissions may name somebody who comes later.
    transaction.record(Change::PeopleChanged);
    Ok(())
}
