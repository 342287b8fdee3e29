//! What may be presented once only: signed assertions (RFC 7523 §3), proofs of possession (RFC 9449 §11.1).

use super::database::query;
use super::*;
use crate::clock::Timestamp;
use crate::ids::Digest;

impl Store {
    /// Uses something that works once: exactly one caller ever gets `true`, until it expires by itself.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_once(&self, digest: &Digest, expires_at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.use_each_once(&[(*digest, expires_at)]).await? == [true])
    }

    /// The same for several at once, in one commit: for each whether it was not used before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_each_once(&self, digests: &[(Digest, Timestamp)]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let mut first = vec![false; digests.len()];
        // In order of the digests: two that use the same ones wait for one another, and not in a circle.
        let mut order: Vec<_> = (0..digests.len()).collect();
        order.sort_by_key(|&number| digests[number].0.0);
        for number in order {
            let (digest, expires_at) = digests[number];
            let insert =
                query("INSERT INTO used_once (digest, expires_at) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING");
            let done = insert.bind(digest).bind(expires_at).execute(&mut transaction).await?;
            first[number] = done.rows_affected() > 0;
        }
        transaction.commit().await?;
        Ok(first)
    }
}
