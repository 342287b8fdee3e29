//! Proofs of possession that were used (RFC 9449 §11.1).

use super::*;
use crate::clock::Timestamp;
use crate::ids::Digest;
use sqlx::query;

impl Store {
    /// Uses a proof, which is remembered until `expires_at`; exactly one caller ever gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn claim_dpop_proof(&self, proof: &Digest, expires_at: Timestamp) -> Result<bool, StoreError> {
        let insert = query("INSERT INTO dpop_proofs (proof, expires_at) VALUES (?, ?) ON CONFLICT (proof) DO NOTHING");
        let done = insert.bind(*proof).bind(expires_at).execute(self.sqlite.writer()).await?;
        Ok(done.rows_affected() > 0)
    }
}
