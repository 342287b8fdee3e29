//! What an answer hangs on: the grant that let the request in, and the connection whose token it carries. When either
//! ends, so does the answer.

use super::admit::Permit;
use super::reply::TokenError;
use crate::connect::Credential;
use crate::life::Life;
use std::sync::Arc;

/// The lives that an answer depends on.
pub(super) struct Lifeline {
    grant: Arc<Life>,
    connection: Arc<Life>,
}

impl Lifeline {
    pub(super) fn new(permit: &Permit, credential: &Credential) -> Self {
        Self { grant: permit.token().life.clone(), connection: credential.life().clone() }
    }

    /// Whether either has ended: two atomic loads.
    pub(super) fn has_ended(&self) -> bool {
        self.grant.has_ended() || self.connection.has_ended()
    }

    /// Waits for the end of either. Takes locks when it is polled for the first time and when it is dropped: whoever has
    /// something else to do asks [`Lifeline::has_ended`] and waits only when there is nothing left to do.
    pub(super) async fn ended(&self) {
        tokio::select! {
            () = self.grant.ended() => {}
            () = self.connection.ended() => {}
        }
    }

    /// What a caller is told that has not seen a byte of the answer.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        if self.grant.has_ended() {
            Err(TokenError::Invalid)
        } else if self.connection.has_ended() {
            Err(TokenError::NotConnected)
        } else {
            Ok(())
        }
    }
}
