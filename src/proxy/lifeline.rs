//! What an answer hangs on: the grant that let the request in, and the connection whose token it carries. When either
//! ends, so does the answer.

use super::admit::Permit;
use super::reply::TokenError;
use crate::connect::Credential;
use crate::life::Answering;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;

/// How long what has begun may go on after the end of a life: an event, a frame, a write.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// The lives that an answer depends on.
pub(super) struct Lifeline {
    grant: Answering,
    connection: Answering,
}

impl Lifeline {
    pub(super) fn new(permit: &Permit, credential: &Credential) -> Self {
        Self { grant: permit.token().life.answering(), connection: credential.life().answering() }
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

    /// A write to a peer that may not be reading. It ends soon after the lives do; the peer cannot be told why.
    ///
    /// # Errors
    /// Those of the write, and when it takes too long.
    pub(super) async fn bounds(&self, write: impl Future<Output = Result<()>>) -> Result<()> {
        let too_late = async {
            self.ended().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! { biased;
            written = write => written,
            () = too_late => Error::e_explain(ErrorType::ConnectionClosed, "a peer that does not read, and was to be left"),
        }
    }

    /// What a caller is told that has not seen a byte of the answer.
    pub(super) fn check(&self) -> std::result::Result<(), TokenError> {
        if self.grant.has_ended() {
            Err(TokenError::Invalid)
        } else if self.connection.has_ended() {
            Err(TokenError::NotConnected)
        } else {
            Ok(())
        }
    }
}
