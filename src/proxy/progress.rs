//! What whoever accepted a connection hears of it: that a first request came over HTTP/2.

use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use std::sync::Arc;
use tokio::sync::Notify;

/// Shared by whoever accepted a connection, and the gate.
#[derive(Clone, Default)]
pub struct Progress(Arc<Notify>);

impl Progress {
    /// How it reaches the gate: the one place in which Pingora carries data of ours with a connection.
    ///
    /// # Errors
    /// Never: the response is a constant.
    pub fn carried(&self) -> pingora::Result<ProxyDigest> {
        Ok(ProxyDigest::new(Box::new(ResponseHeader::build_no_case(200, Some(0))?), Some(Box::new(self.clone()))))
    }

    /// Waits for the first request. Only one task may wait.
    pub async fn first_request(&self) {
        self.0.notified().await;
    }

    /// That of a session.
    pub(super) fn of(session: &ServerSession) -> Option<Self> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref().cloned()
    }

    /// A request came.
    pub(super) fn has_request(&self) {
        self.0.notify_one();
    }
}
