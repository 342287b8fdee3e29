//! Names to addresses, as the system's name servers tell them.

use super::ResolveError;
use futures_util::future::select;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long the addresses of one family wait for those of the other (RFC 8305 §3, Resolution Delay).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long an answer is believed that the other family is missing from.
const INCOMPLETE: Duration = Duration::from_secs(10);

/// Who is asked.
pub(super) enum Names {
    System(Box<Families>),
    Fixed(HashMap<String, Vec<IpAddr>>),
    Nobody,
}

/// Each family is asked for on its own: a name server that drops one question must not hold up the answer to the other.
pub(super) struct Families {
    v4: TokioResolver,
    v6: TokioResolver,
}

impl Names {
    /// The name servers of `/etc/resolv.conf`; nobody when there are none.
    pub(super) fn of_system() -> Self {
        match Families::new(TokioResolver::builder_tokio) {
            Ok(families) => Self::System(Box::new(families)),
            Err(error) => {
                tracing::warn!(%error, "no usable name servers in /etc/resolv.conf: no name will resolve");
                Self::Nobody
            }
        }
    }

    /// The addresses of a name, and how long that is true.
    pub(super) async fn find(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        match self {
            Names::Nobody => Err(ResolveError::Timeout),
            Names::Fixed(names) => {
                let wildcard = || names.get(&format!("*.{}", host.split_once('.')?.1));
                let found = names.get(host).or_else(wildcard).cloned();
                found.map(|found| (found, Duration::ZERO)).ok_or(ResolveError::NotFound)
            }
            Names::System(families) => families.find(host).await,
        }
    }
}

type Builder = ResolverBuilder<TokioRuntimeProvider>;

impl Families {
    /// With the name servers of this builder.
    pub(super) fn new(builder: impl Fn() -> Result<Builder, NetError>) -> Result<Self, NetError> {
        let family = |strategy| {
            let mut builder = builder()?;
            let options = builder.options_mut();
            // Our cache is the one that remembers: the library's own would believe an answer beyond our bounds.
            options.cache_size = 0;
            options.ip_strategy = strategy;
            options.use_hosts_file = ResolveHosts::Always;
            options.timeout = Duration::from_millis(1400);
            options.attempts = 2;
            builder.build()
        };
        Ok(Self { v4: family(LookupIpStrategy::Ipv4Only)?, v6: family(LookupIpStrategy::Ipv6Only)? })
    }

    async fn find(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        // Fully qualified: the search list of this machine must not decide where a hostname leads.
        let name = format!("{host}.");
        let (v4, v6) = (pin!(ask(&self.v4, &name)), pin!(ask(&self.v6, &name)));
        let (first, other) = select(v4, v6).await.factor_first();
        match first {
            Ok((mut found, ttl)) => match timeout(RESOLUTION_DELAY, other).await {
                Ok(Ok((more, other_ttl))) => {
                    found.extend(more);
                    Ok((found, ttl.min(other_ttl)))
                }
                Ok(Err(ResolveError::NotFound)) => Ok((found, ttl)),
                Ok(Err(_)) | Err(_) => Ok((found, ttl.min(INCOMPLETE))),
            },
            // Of two failures the one that says more about the name servers than about the name.
            Err(ResolveError::NotFound) => other.await,
            Err(trouble) => other.await.map_err(|_| trouble),
        }
    }
}

async fn ask(resolver: &TokioResolver, name: &str) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
    let found = resolver.lookup_ip(name).await.map_err(|error| match error {
        NetError::Timeout | NetError::NoConnections | NetError::Io(_) => ResolveError::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(_)) => ResolveError::NotFound,
        _ => ResolveError::Failed,
    })?;
    let ttl = found.valid_until().saturating_duration_since(Instant::now());
    let addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok((addresses, ttl)) }
}
