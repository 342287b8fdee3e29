//! Names to checked addresses: cached, bounded in time, every address through the guard.

use super::guard::{Forbidden, permits};
use super::names::Names;
use crate::hostname::Authority;
use moka::Expiry;
use moka::sync::Cache;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};

/// How long one name may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The bounds of how long an answer is believed; the DNS says how long within them.
const POSITIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a failure is remembered.
const NEGATIVE: Duration = Duration::from_secs(5);
/// How many names are asked for at once; hostnames are chosen by strangers.
const CONCURRENCY: usize = 64;
/// How many names are remembered.
const CAPACITY: u64 = 10_000;

/// Resolves authorities. Cloning shares the cache.
#[derive(Clone)]
pub struct Resolver {
    names: Arc<Names>,
    /// One cell per name, so that many callers ask once.
    cache: Cache<Box<str>, Arc<OnceCell<Answer>>>,
    permits: Arc<Semaphore>,
    /// Who plays which address.
    sockets: Option<Arc<HashMap<IpAddr, SocketAddr>>>,
}

/// Why there is no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address.
    #[error("the name does not resolve to an address")]
    NotFound,
    /// No name server answered in time.
    #[error("the name servers did not answer in time")]
    Timeout,
    /// The name servers answered that they cannot tell, or nonsense.
    #[error("the name servers failed")]
    Failed,
    /// All addresses are forbidden.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

impl Resolver {
    /// With the system's name servers (`/etc/resolv.conf`) and hosts file. Without usable name servers every name times
    /// out, and addresses go on working.
    pub fn system() -> Self {
        Self::with(Names::of_system())
    }

    /// With these names and no others, asking nobody: for tests and demonstrations.
    pub fn fixed(names: HashMap<String, Vec<IpAddr>>) -> Self {
        Self::with(Names::Fixed(names))
    }

    /// The same, and each address is played by a socket on this machine: for tests of what only public addresses show. A name
    /// that begins with `*.` stands for everything one label below.
    pub fn staged(names: HashMap<String, Vec<IpAddr>>, sockets: HashMap<IpAddr, SocketAddr>) -> Self {
        Self { sockets: Some(Arc::new(sockets)), ..Self::with(Names::Fixed(names)) }
    }

    /// Everything that a name leads to, forbidden addresses too: to be looked at. Whoever connects asks [`permits`] before.
    ///
    /// # Errors
    /// When there is no address.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        match host.parse() {
            Ok(address) => Ok(Arc::from([address])),
            Err(_) if is_localhost(host) => Ok(Arc::from([IpAddr::V4(Ipv4Addr::LOCALHOST)])),
            Err(_) => self.ask(host.to_ascii_lowercase().into()).await,
        }
    }

    /// Where a connection to an address goes: there, unless the address is played by somebody else ([`Resolver::staged`]).
    pub(super) fn socket(&self, address: IpAddr, port: u16) -> SocketAddr {
        let played = self.sockets.as_ref().and_then(|sockets| sockets.get(&address).copied());
        played.unwrap_or(SocketAddr::new(address, port))
    }

    /// The addresses of an authority that may be connected to, from the cache when it is known there. An IP address is
    /// only checked. `localhost` is 127.0.0.1 without asking anybody.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(&self, authority: &Authority, allow_private: bool) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let port = authority.port();
        let addresses = self.lookup(authority.host(), allow_private).await?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// The same for a bare host name in any letter case.
    pub(super) async fn lookup(&self, host: &str, allow_private: bool) -> Result<Vec<IpAddr>, ResolveError> {
        let known = self.addresses(host).await?;
        let permitted: Vec<IpAddr> =
            known.iter().copied().filter(|address| permits(*address, allow_private).is_ok()).collect();
        match permitted.len() {
            0 => Err(Forbidden.into()),
            all if all == known.len() => Ok(permitted),
            _ => Ok(interleaved(&permitted)),
        }
    }

    fn with(names: Names) -> Self {
        let cache = Cache::builder().max_capacity(CAPACITY).expire_after(Life).build();
        Self { names: Arc::new(names), cache, permits: Arc::new(Semaphore::new(CONCURRENCY)), sockets: None }
    }

    async fn ask(&self, host: Box<str>) -> Result<Arc<[IpAddr]>, ResolveError> {
        let cell = self.cache.get_with(host.clone(), Arc::default);
        if let Some(answer) = cell.get() {
            return answer.addresses.clone();
        }
        let asked = cell.get_or_init(|| async {
            let limited = async {
                let _permit = self.permits.acquire().await.map_err(|_| ResolveError::Timeout)?;
                self.names.find(&host).await
            };
            match tokio::time::timeout(TIMEOUT, limited).await.unwrap_or(Err(ResolveError::Timeout)) {
                Ok((addresses, ttl)) => {
                    Answer { addresses: Ok(interleaved(&addresses).into()), ttl: ttl.clamp(POSITIVE.0, POSITIVE.1) }
                }
                Err(error) => Answer { addresses: Err(error), ttl: NEGATIVE },
            }
        });
        let addresses = asked.await.addresses.clone();
        // The life of an entry is known only now: putting it again tells the cache.
        self.cache.insert(host, cell);
        addresses
    }
}

struct Answer {
    addresses: Result<Arc<[IpAddr]>, ResolveError>,
    ttl: Duration,
}

struct Life;

impl Expiry<Box<str>, Arc<OnceCell<Answer>>> for Life {
    fn expire_after_create(&self, _: &Box<str>, cell: &Arc<OnceCell<Answer>>, _: Instant) -> Option<Duration> {
        // One without an answer was just begun; should its caller vanish, the next one takes over.
        Some(cell.get().map_or(POSITIVE.1, |answer| answer.ttl))
    }

    fn expire_after_update(
        &self,
        name: &Box<str>,
        cell: &Arc<OnceCell<Answer>>,
        now: Instant,
        remaining: Option<Duration>,
    ) -> Option<Duration> {
        // Everybody who waited puts the entry again; the first one counts.
        let fresh = self.expire_after_create(name, cell, now);
        match (fresh, remaining) {
            (Some(fresh), Some(remaining)) => Some(fresh.min(remaining)),
            _ => fresh,
        }
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// IPv4 and IPv6 in turn, so that a broken family costs one attempt (RFC 8305 §4).
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    let longer = v4.len().max(v6.len());
    (0..longer).flat_map(|i| [v4.get(i), v6.get(i)]).flatten().copied().collect()
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
