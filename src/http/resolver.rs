//! Names to checked addresses: cached, bounded in time, every address through the guard.

use crate::hostname::Authority;
use std::net::SocketAddr;
use std::sync::Arc;

/// Resolves authorities. Cloning shares the cache.
#[derive(Clone)]
pub struct Resolver {}

/// Why there is no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address.
    #[error("the name does not resolve to an address")]
    NotFound,
    /// No name server answered in time.
    #[error("the name servers did not answer in time")]
    Timeout,
    /// All addresses are forbidden.
    #[error(transparent)]
    Forbidden(#[from] super::Forbidden),
}

impl Resolver {
    /// With the system's name servers (`/etc/resolv.conf`) and hosts file.
    pub fn system() -> Self {
        todo!()
    }

    /// The addresses of an authority that may be connected to, from the cache when it is known there. An IP address is
    /// only checked. `localhost` is 127.0.0.1 without asking anybody.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(&self, authority: &Authority, allow_private: bool) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let _ = (authority, allow_private);
        todo!()
    }
}
