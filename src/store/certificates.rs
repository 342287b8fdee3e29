//! Certificates that an authority issues, our accounts there, and what it is going to ask.
//!
//! One process at a time has the lease of a certificate, by the clock of the database ([`Store::now`]). Nothing is lost by a lease
//! that runs out: the worst is that a certificate is ordered twice.

use super::columns::reading;
use super::database::{query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;

/// A certificate and how its orders go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// What it is for: the root domain, or an MCP hostname.
    pub name: String,
    /// All its names, separated by blanks.
    pub names: String,
    /// The directory of the authority that it was ordered from.
    pub directory: String,
    /// The chain in PEM; none before the first order has succeeded.
    pub chain: Option<String>,
    /// The key in PKCS#8, sealed.
    pub sealed: Option<Vec<u8>>,
    /// When its life began.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub not_after: Option<Timestamp>,
    /// When the next one is to be ordered.
    pub renew_at: Timestamp,
    /// When the authority is asked how it would have it.
    pub ask_at: Option<Timestamp>,
    /// How many orders in a row have failed.
    pub failures: i64,
    /// Why the last one did.
    pub last_error: Option<String>,
}

/// A certificate that was issued.
pub struct Issued<'a> {
    /// As in [`StoredCertificate::names`].
    pub names: &'a str,
    /// As in [`StoredCertificate::directory`].
    pub directory: &'a str,
    /// As in [`StoredCertificate::chain`].
    pub chain: &'a str,
    /// As in [`StoredCertificate::sealed`].
    pub sealed: &'a [u8],
    /// From when to when it is good.
    pub validity: (Timestamp, Timestamp),
    /// When to order the next one.
    pub renew_at: Timestamp,
    /// When to ask the authority about that.
    pub ask_at: Option<Timestamp>,
}

/// What an authority is going to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeChallenge {
    /// How it asks.
    pub kind: String,
    /// By what the answer is found.
    pub key: String,
    /// Of the certificate that is ordered.
    pub name: String,
    /// The answer.
    pub answer: String,
    /// When nobody asks any more.
    pub expires_at: Timestamp,
}

impl Store {
    /// All certificates, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn certificates(&self) -> Result<Vec<StoredCertificate>, StoreError> {
        let select = query_as("SELECT * FROM certificates ORDER BY name");
        select.fetch_all(self.database.readers()).await.map_err(reading::<StoredCertificate>)
    }

    /// Takes the right to order a certificate until `until`; `None` while somebody else has it. Times are those of
    /// [`Store::now`]. Whether it is still due has to be looked at afterwards.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn claim_certificate(
        &self,
        (name, names, directory): (&str, &str, &str),
        holder: &str,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Option<StoredCertificate>, StoreError> {
        let upsert = query_as(
            "INSERT INTO certificates (name, names, directory, renew_at, lease_holder, lease_until)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET lease_holder = excluded.lease_holder, lease_until = excluded.lease_until
             WHERE certificates.lease_until IS NULL OR certificates.lease_until <= ? OR certificates.lease_holder = ?
             RETURNING *",
        );
        let upsert = upsert.bind(name).bind(names).bind(directory).bind(Timestamp(0)).bind(holder).bind(until);
        let mut transaction = self.database.transaction().await?;
        let claimed = upsert.bind(now).bind(holder).fetch_optional(&mut transaction).await;
        let claimed = claimed.map_err(reading::<StoredCertificate>)?;
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Gives the right back without an order.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn release_certificate(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let update = query(
            "UPDATE certificates SET lease_holder = NULL, lease_until = NULL WHERE name = ? AND lease_holder = ?",
        );
        update.bind(name).bind(holder).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Keeps what was issued; every process hears of it. `false` when somebody else has the right by now: then that one's
    /// counts.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn finish_certificate(&self, name: &str, holder: &str, issued: &Issued<'_>) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE certificates SET names = ?, directory = ?, chain = ?, sealed = ?, not_before = ?, not_after = ?,
                 renew_at = ?, ask_at = ?, lease_holder = NULL, lease_until = NULL, failures = 0, last_error = NULL
             WHERE name = ? AND lease_holder = ?",
        );
        let update = update
            .bind(issued.names)
            .bind(issued.directory)
            .bind(issued.chain)
            .bind(issued.sealed)
            .bind(issued.validity.0)
            .bind(issued.validity.1)
            .bind(issued.renew_at)
            .bind(issued.ask_at);
        let mut transaction = self.database.transaction().await?;
        let done = update.bind(name).bind(holder).execute(&mut transaction).await?.rows_affected() > 0;
        if done {
            transaction.record(Change::CertificatesChanged);
        }
        transaction.commit().await?;
        Ok(done)
    }

    /// Notes that an order failed, and when the next one may come.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fail_certificate(
        &self,
        name: &str,
        holder: &str,
        (error, again_at): (&str, Timestamp),
    ) -> Result<(), StoreError> {
        let update = query(
            "UPDATE certificates SET renew_at = ?, failures = failures + 1, last_error = ?, lease_holder = NULL,
                 lease_until = NULL
             WHERE name = ? AND lease_holder = ?",
        );
        let mut transaction = self.database.transaction().await?;
        update.bind(again_at).bind(error).bind(name).bind(holder).execute(&mut transaction).await?;
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await
    }

    /// Notes what the authority wishes for, unless another certificate has come meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn reschedule_certificate(
        &self,
        certificate: &StoredCertificate,
        renew_at: Timestamp,
        ask_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let update = query("UPDATE certificates SET renew_at = ?, ask_at = ? WHERE name = ? AND not_after = ?");
        let update = update.bind(renew_at).bind(ask_at).bind(&certificate.name).bind(certificate.not_after);
        let mut transaction = self.database.transaction().await?;
        update.execute(&mut transaction).await?;
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await
    }

    /// Makes one certificate due, or all; how many these are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn renew_certificates(&self, name: Option<&str>) -> Result<u64, StoreError> {
        let update = match name {
            Some(name) => query("UPDATE certificates SET renew_at = 0, failures = 0 WHERE name = ?").bind(name),
            None => query("UPDATE certificates SET renew_at = 0, failures = 0"),
        };
        let mut transaction = self.database.transaction().await?;
        let due = update.execute(&mut transaction).await?.rows_affected();
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await?;
        Ok(due)
    }

    /// Forgets a certificate.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_certificate(&self, name: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        query("DELETE FROM certificates WHERE name = ?").bind(name).execute(&mut transaction).await?;
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await
    }

    /// Our account at an authority, sealed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn acme_account(&self, directory: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = query_scalar("SELECT sealed FROM acme_accounts WHERE directory = ?").bind(directory);
        Ok(select.fetch_optional(self.database.writer()).await?)
    }

    /// Keeps an account unless there is one already.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_acme_account(&self, directory: &str, sealed: &[u8], now: Timestamp) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO acme_accounts (directory, sealed, created_at) VALUES (?, ?, ?)
             ON CONFLICT (directory) DO NOTHING",
        );
        insert.bind(directory).bind(sealed).bind(now).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Forgets an account that the authority does not take any more, unless another one is in its place.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_acme_account(&self, directory: &str, sealed: &[u8]) -> Result<(), StoreError> {
        let delete = query("DELETE FROM acme_accounts WHERE directory = ? AND sealed = ?");
        delete.bind(directory).bind(sealed).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Keeps an answer where every node finds it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_acme_challenge(&self, challenge: &AcmeChallenge) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO acme_challenges (kind, key, name, answer, expires_at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (kind, key) DO UPDATE SET name = excluded.name, answer = excluded.answer,
                 expires_at = excluded.expires_at",
        );
        let upsert = upsert.bind(&challenge.kind).bind(&challenge.key).bind(&challenge.name).bind(&challenge.answer);
        let mut transaction = self.database.transaction().await?;
        upsert.bind(challenge.expires_at).execute(&mut transaction).await?;
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await
    }

    /// An answer.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn acme_answer(&self, kind: &str, key: &str) -> Result<Option<String>, StoreError> {
        let select = query_scalar("SELECT answer FROM acme_challenges WHERE kind = ? AND key = ?");
        Ok(select.bind(kind).bind(key).fetch_optional(self.database.readers()).await?)
    }

    /// All answers of a kind.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn acme_challenges(&self, kind: &str) -> Result<Vec<AcmeChallenge>, StoreError> {
        let select = query_as("SELECT * FROM acme_challenges WHERE kind = ? ORDER BY key").bind(kind);
        select.fetch_all(self.database.readers()).await.map_err(reading::<AcmeChallenge>)
    }

    /// Forgets the answers for one certificate, and all that nobody asks for any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_acme_challenges(&self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let delete = query("DELETE FROM acme_challenges WHERE name = ? OR expires_at <= ?").bind(name).bind(now);
        let mut transaction = self.database.transaction().await?;
        delete.execute(&mut transaction).await?;
        transaction.record(Change::CertificatesChanged);
        transaction.commit().await
    }
}
