//! Second factors: authenticator apps, recovery codes and passkeys.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

/// An authenticator app (RFC 6238).
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// Whose.
    pub user: UserId,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Digest of the cookie of the browser that began to set it up.
    pub browser: Digest,
    /// The newest step whose code was used; negative before the first.
    pub last_step: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its first code was shown; before that it does not count.
    pub confirmed_at: Option<Timestamp>,
}

/// A passkey (WebAuthn).
#[derive(Clone, Debug)]
pub struct Passkey {
    /// What it may be called in pages.
    pub id: PasskeyId,
    /// What its authenticator calls it.
    pub credential_id: Vec<u8>,
    /// Whose.
    pub user: UserId,
    /// For people.
    pub name: String,
    /// As the authenticator gave it: a COSE key (RFC 9052 §7).
    pub public_key: Vec<u8>,
    /// How often it signed, if its authenticator counts; else 0.
    pub sign_count: u32,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed its person in.
    pub last_used_at: Option<Timestamp>,
}

/// What passkeys know a person by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyHolder {
    /// 32 random bytes that say nothing about the person (WebAuthn §14.6.1).
    pub handle: Vec<u8>,
    /// Whether a passkey is asked for after the password.
    pub after_password: bool,
}

impl Store {
    /// Keeps an authenticator in place of one that was never confirmed; `false` when there is one that was.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_authenticator(&self, new: &Authenticator) -> Result<bool, StoreError> {
        let upsert = query(
            "INSERT INTO authenticators (user_id, sealed, browser, last_step, created_at, confirmed_at)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, browser = excluded.browser,
                 last_step = excluded.last_step, created_at = excluded.created_at
             WHERE authenticators.confirmed_at IS NULL",
        );
        let upsert = upsert.bind(new.user).bind(&new.sealed).bind(new.browser).bind(new.last_step).bind(new.created_at);
        let done = upsert.bind(new.confirmed_at).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// A person's authenticator, confirmed or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn authenticator(&self, user: UserId) -> Result<Option<Authenticator>, StoreError> {
        let select = query_as("SELECT * FROM authenticators WHERE user_id = ?").bind(user);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Authenticator>)
    }

    /// Lets an authenticator count from now on, with these recovery codes in place of all earlier ones. `false` when it
    /// does not wait for that any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn confirm_authenticator(
        &self,
        waiting: &Authenticator,
        step: i64,
        codes: &[Digest],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (user, sealed) = (waiting.user, &waiting.sealed);
        let mut transaction = self.database.transaction_alone(Lock::Person(user)).await?;
        let update = query(
            "UPDATE authenticators SET confirmed_at = ?, last_step = ?
             WHERE user_id = ? AND sealed = ? AND confirmed_at IS NULL",
        );
        let update = update.bind(now).bind(step).bind(user).bind(sealed);
        let confirmed = update.execute(&mut transaction).await?.rows_affected() > 0;
        if confirmed {
            replace_codes(&mut transaction, user, codes).await?;
        }
        transaction.commit().await?;
        Ok(confirmed)
    }

    /// Uses a step of an authenticator that counts; of all callers with one step exactly one gets `true`, and nobody with
    /// an older one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_step(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE authenticators SET last_step = ?
             WHERE user_id = ? AND last_step < ? AND confirmed_at IS NOT NULL",
        );
        let done = update.bind(step).bind(user).bind(step).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a person's authenticator; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_authenticator(&self, user: UserId) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM authenticators WHERE user_id = ?").bind(user);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Gives a person these recovery codes in place of all earlier ones.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_recovery_codes(&self, user: UserId, codes: &[Digest]) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Person(user)).await?;
        replace_codes(&mut transaction, user, codes).await?;
        transaction.commit().await
    }

    /// Uses a recovery code up; exactly one caller ever gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_recovery_code(&self, user: UserId, code: &Digest) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM recovery_codes WHERE user_id = ? AND code = ?").bind(user).bind(*code);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// How many recovery codes a person has left.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn recovery_codes_left(&self, user: UserId) -> Result<u32, StoreError> {
        let select = query_scalar("SELECT COUNT(*) FROM recovery_codes WHERE user_id = ?").bind(user);
        Ok(select.fetch_one(self.database.readers()).await?)
    }

    /// Takes all second factors away from a person and signs the person's browsers out; `false` when there was no factor.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_factors(&self, user: UserId) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::Person(user)).await?;
        let mut deleted = 0;
        for table in [
            "DELETE FROM authenticators WHERE user_id = ?",
            "DELETE FROM recovery_codes WHERE user_id = ?",
            "DELETE FROM passkeys WHERE user_id = ?",
            "DELETE FROM passkey_holders WHERE user_id = ?",
        ] {
            deleted += query(table).bind(user).execute(&mut transaction).await?.rows_affected();
        }
        query("DELETE FROM sessions WHERE user_id = ?").bind(user).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(deleted > 0)
    }

    /// What passkeys know a person by: `handle`, unless they know the person already.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn make_passkey_holder(&self, user: UserId, handle: &[u8; 32]) -> Result<PasskeyHolder, StoreError> {
        let insert = query(
            "INSERT INTO passkey_holders (user_id, handle, after_password) VALUES (?, ?, FALSE)
             ON CONFLICT (user_id) DO NOTHING",
        );
        insert.bind(user).bind(&handle[..]).execute(self.database.writer()).await?;
        self.passkey_holder(user).await?.ok_or(StoreError::Damaged("passkey holder"))
    }

    /// What passkeys know a person by, if they do.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn passkey_holder(&self, user: UserId) -> Result<Option<PasskeyHolder>, StoreError> {
        let select = query_as("SELECT * FROM passkey_holders WHERE user_id = ?").bind(user);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<PasskeyHolder>)
    }

    /// Whether a passkey is asked for after the password; `false` when the person has never had one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn ask_for_passkey(&self, user: UserId, after_password: bool) -> Result<bool, StoreError> {
        let update = query("UPDATE passkey_holders SET after_password = ? WHERE user_id = ?");
        let done = update.bind(after_password).bind(user).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps a passkey.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one with that credential id.
    pub async fn insert_passkey(&self, passkey: &Passkey) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO passkeys (id, credential_id, user_id, name, public_key, sign_count, created_at, last_used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(passkey.id)
            .bind(&passkey.credential_id)
            .bind(passkey.user)
            .bind(&passkey.name)
            .bind(&passkey.public_key)
            .bind(passkey.sign_count)
            .bind(passkey.created_at)
            .bind(passkey.last_used_at)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that passkey"))?;
        Ok(())
    }

    /// A person's passkeys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn passkeys_of(&self, user: UserId) -> Result<Vec<Passkey>, StoreError> {
        let select = query_as("SELECT * FROM passkeys WHERE user_id = ? ORDER BY created_at, id").bind(user);
        select.fetch_all(self.database.readers()).await.map_err(reading::<Passkey>)
    }

    /// The passkey that its authenticator calls so.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn passkey(&self, credential_id: &[u8]) -> Result<Option<Passkey>, StoreError> {
        let select = query_as("SELECT * FROM passkeys WHERE credential_id = ?").bind(credential_id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Passkey>)
    }

    /// Notes a use of a passkey. `false` when its counter did not go up, as it must where the authenticator counts
    /// (WebAuthn §6.1.1): then there are two of it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_passkey(&self, id: PasskeyId, sign_count: u32, now: Timestamp) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE passkeys SET sign_count = ?1, last_used_at = ?2
             WHERE id = ?3 AND (sign_count < ?1 OR (sign_count = 0 AND ?1 = 0))",
        );
        let done = update.bind(sign_count).bind(now).bind(id).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes one of a person's passkeys; `false` when the person has no such one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_passkey(&self, user: UserId, id: PasskeyId) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM passkeys WHERE user_id = ? AND id = ?").bind(user).bind(id);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }
}

/// For transactions that have [`Lock::Person`]: of two sets at once both would be kept.
async fn replace_codes(transaction: &mut Transaction, user: UserId, codes: &[Digest]) -> Result<(), StoreError> {
    query("DELETE FROM recovery_codes WHERE user_id = ?").bind(user).execute(&mut *transaction).await?;
    for code in codes {
        let insert = query("INSERT INTO recovery_codes (user_id, code) VALUES (?, ?)").bind(user).bind(*code);
        insert.execute(&mut *transaction).await?;
    }
    Ok(())
}
