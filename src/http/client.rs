//! The outbound client: https only (http for loopback where private addresses are allowed), checked and pinned
//! addresses, no redirects of its own, bounded time and size.

use super::Resolver;
use std::path::Path;
use std::time::Duration;

/// The one client. Cloning shares its connections.
#[derive(Clone)]
pub struct HttpClient {}

/// An answer, read completely.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body, within the limit.
    pub body: bytes::Bytes,
}

/// Why there is no answer. Texts are fit for people and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not https, userinfo in it, or not a URL.
    #[error("{0} is not an https URL")]
    Url(String),
    /// The address guard or the resolver refused.
    #[error("{host}: {why}")]
    Address {
        /// The host that was asked for.
        host: String,
        /// Why not.
        why: super::ResolveError,
    },
    /// Longer than the limit.
    #[error("{0} sent more than a metadata document or token response may have")]
    TooLarge(String),
    /// Not in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// Connection refused, TLS failure, connection lost.
    #[error("{host} cannot be reached: {why}")]
    Connection {
        /// The host.
        host: String,
        /// In words.
        why: String,
    },
}

impl HttpClient {
    /// Largest body read, in bytes.
    pub const MAX_BODY: usize = 1024 * 1024;
    /// Longest time from connecting to the last byte.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// A client that trusts the system's certificate authorities, or only those in `ca_file`.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn new(resolver: Resolver, ca_file: Option<&Path>) -> Result<Self, crate::error::Fault> {
        let _ = (resolver, ca_file);
        todo!()
    }

    /// Sends a request and reads the whole answer. Redirects come back as they are.
    ///
    /// # Errors
    /// When there is no complete answer within the limits.
    pub async fn send(&self, request: http::Request<bytes::Bytes>, allow_private: bool) -> Result<Fetched, FetchError> {
        let _ = (request, allow_private);
        todo!()
    }
}
