//! Proofs of possession that were used (RFC 9449 §11.1).

use super::*;
use crate::clock::Timestamp;
use crate::ids::Digest;
use sqlx::query;

impl Store {
    /// Uses proofs, each of which is remembered until the moment beside it. For each whether it was not used before: exactly
    /// one caller ever gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn claim_dpop_proofs(&self, proofs: &[(Digest, Timestamp)]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        let mut first = Vec::with_capacity(proofs.len());
        for (proof, expires_at) in proofs {
            let insert =
                query("INSERT INTO dpop_proofs (proof, expires_at) VALUES (?, ?) ON CONFLICT (proof) DO NOTHING");
            let done = insert.bind(*proof).bind(*expires_at).execute(&mut *transaction).await?;
            first.push(done.rows_affected() > 0);
        }
        transaction.commit().await?;
        Ok(first)
    }
}
