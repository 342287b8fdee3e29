//! The outbound client: https only (http for loopback where private addresses are allowed), checked and pinned
//! addresses, no redirects of its own, bounded time and size.

use super::guard::permits;
use super::{ResolveError, Resolver};
use crate::error::{Culprit, Fault};
use crate::ids::Digest;
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// The one client. Cloning shares its connections.
#[derive(Clone)]
pub struct HttpClient {
    resolver: Resolver,
    clients: Arc<ArcSwap<Clients>>,
    timeout: Duration,
}

/// Connections under one set of certificate authorities.
pub struct Clients {
    /// Reaches public addresses only.
    public: Pair,
    /// Reaches private ones too. Clients of its own, so that the others cannot pick up one of its open connections.
    private: Pair,
    /// What is in the file of certificate authorities; `None`: the system's are trusted.
    authorities: Option<Digest>,
}

/// Two ways of connecting.
struct Pair {
    /// Over connections that are open already. The server may be closing one just then, so what is sent here is sent again.
    reusing: reqwest::Client,
    /// Each over a new connection, for what cannot be sent again: codes and refresh tokens work once.
    fresh: reqwest::Client,
    /// New connections of HTTP/1.1, the only version that can be upgraded here.
    upgrading: reqwest::Client,
}

/// Which connection a request goes out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// One that is open already. If it is lost before an answer, the request is sent again: it only asks.
    Repeat,
    /// One that is open already. If it is lost, nobody knows whether the request was acted on, so that is the end of it.
    Once,
    /// A new one.
    Never,
    /// A new one of HTTP/1.1, to be upgraded.
    Upgrade,
}

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
    #[error("{0} sent more than an answer of its kind may have")]
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

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        let culprit = match error {
            FetchError::Timeout(_) | FetchError::Address { why: ResolveError::Timeout, .. } => Culprit::UpstreamTimeout,
            _ => Culprit::Upstream,
        };
        let text = error.to_string();
        Fault { culprit, public: text.clone().into(), private: text }
    }
}

impl HttpClient {
    /// Largest body read, in bytes.
    pub const MAX_BODY: usize = 1024 * 1024;
    /// Longest time from connecting to the last byte.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// Longest time for connecting, TLS included.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    /// A client that trusts the system's certificate authorities, or only those in `ca_file`.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn new(resolver: Resolver, ca_file: Option<&Path>) -> Result<Self, Fault> {
        let authorities = ca_file.map(read).transpose()?;
        let clients = Clients::new(&resolver, authorities.as_ref())?;
        Ok(Self { resolver, clients: Arc::new(ArcSwap::from_pointee(clients)), timeout: Self::TIMEOUT })
    }

    /// What to [`install`](HttpClient::install) in order to trust these certificate authorities instead; `None` when they
    /// are the same as before.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    pub fn prepare(&self, ca_file: Option<&Path>) -> Result<Option<Clients>, Fault> {
        let authorities = ca_file.map(read).transpose()?;
        let digest = authorities.as_ref().map(|file| Digest::of(&file.pem));
        if digest == self.clients.load().authorities {
            return Ok(None);
        }
        Clients::new(&self.resolver, authorities.as_ref()).map(Some)
    }

    /// From now on requests go out with these; those under way are not touched.
    pub fn install(&self, clients: Clients) {
        self.clients.store(Arc::new(clients));
    }

    /// The same client, waiting no longer than this; for tests.
    #[cfg(test)]
    pub(crate) fn waiting_at_most(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a request and reads the whole answer. Redirects come back as they are.
    ///
    /// # Errors
    /// When there is no complete answer within the limits.
    pub async fn send(&self, request: http::Request<Bytes>, allow_private: bool) -> Result<Fetched, FetchError> {
        let host = check_url(&request.uri().to_string(), allow_private)?.host_str().unwrap_or_default().to_owned();
        let reuse = if request.method().is_idempotent() { Reuse::Repeat } else { Reuse::Never };
        self.whole(request, allow_private, host, reuse).await
    }

    /// Sends a request to a server of the operator's own, which the configuration names: it may speak plain http, wherever it is.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn send_to_operator(&self, request: http::Request<Bytes>) -> Result<Fetched, FetchError> {
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if let Ok(address) = host.parse::<IpAddr>() {
            permits(address, true).map_err(|why| FetchError::Address { host: host.clone(), why: why.into() })?;
        }
        self.whole(request, true, host, Reuse::Once).await
    }

    async fn whole(
        &self,
        request: http::Request<Bytes>,
        allow_private: bool,
        host: String,
        reuse: Reuse,
    ) -> Result<Fetched, FetchError> {
        let complete = async {
            let mut answer = self.begin_with(request, allow_private, &host, reuse).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&host, &error))? {
                if body.len() + chunk.len() > Self::MAX_BODY {
                    return Err(FetchError::TooLarge(host.clone()));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Fetched { status: answer.status(), headers: answer.headers().clone(), body: body.freeze() })
        };
        tokio::time::timeout(self.timeout, complete).await.unwrap_or_else(|_| Err(FetchError::Timeout(host.clone())))
    }

    /// Sends a request, reads the head of the answer and hangs up: for answers that may never end. The body is empty.
    ///
    /// # Errors
    /// When there is no head within the limits.
    pub async fn send_for_head(
        &self,
        request: http::Request<Bytes>,
        allow_private: bool,
    ) -> Result<Fetched, FetchError> {
        let host = check_url(&request.uri().to_string(), allow_private)?.host_str().unwrap_or_default().to_owned();
        let head = async {
            let answer = self.begin(request, allow_private, &host).await?;
            Ok(Fetched { status: answer.status(), headers: answer.headers().clone(), body: Bytes::new() })
        };
        tokio::time::timeout(self.timeout, head).await.unwrap_or_else(|_| Err(FetchError::Timeout(host.clone())))
    }

    async fn begin(
        &self,
        request: http::Request<Bytes>,
        allow_private: bool,
        host: &str,
    ) -> Result<reqwest::Response, FetchError> {
        let reuse = if request.method().is_idempotent() { Reuse::Repeat } else { Reuse::Never };
        self.begin_with(request, allow_private, host, reuse).await
    }

    pub(super) async fn begin_with(
        &self,
        request: http::Request<Bytes>,
        allow_private: bool,
        host: &str,
        reuse: Reuse,
    ) -> Result<reqwest::Response, FetchError> {
        let clients = self.clients.load_full();
        let clients = if allow_private { &clients.private } else { &clients.public };
        let execute = async |client: &reqwest::Client, request: http::Request<Bytes>| {
            client.execute(request.map(reqwest::Body::from).try_into()?).await
        };
        let first = match reuse {
            Reuse::Never => None,
            Reuse::Once => return execute(&clients.reusing, request).await.map_err(|error| failure(host, &error)),
            Reuse::Upgrade => return execute(&clients.upgrading, request).await.map_err(|error| failure(host, &error)),
            Reuse::Repeat => Some(execute(&clients.reusing, request.clone()).await),
        };
        match first {
            // Lost, not refused: most likely a connection that had been idle.
            Some(Err(error)) if error.is_request() && !error.is_connect() && !error.is_timeout() => {}
            Some(outcome) => return outcome.map_err(|error| failure(host, &error)),
            None => {}
        }
        execute(&clients.fresh, request).await.map_err(|error| failure(host, &error))
    }
}

/// Parses a URL that may be fetched, or that a browser may be sent to: https, or http to this very machine under
/// `allow_private`; no userinfo; an IP address only when the guard permits it.
///
/// # Errors
/// [`FetchError::Url`] or [`FetchError::Address`].
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, FetchError> {
    let refused = || FetchError::Url(text.chars().filter(|c| !c.is_control()).take(200).collect());
    let url = Url::parse(text).map_err(|_| refused())?;
    let (address, loopback) = match url.host().ok_or_else(refused)? {
        Host::Domain(name) => (None, name == "localhost" || name.ends_with(".localhost")),
        Host::Ipv4(v4) => (Some(IpAddr::V4(v4)), v4.is_loopback()),
        Host::Ipv6(v6) => (Some(IpAddr::V6(v6)), v6.is_loopback()),
    };
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && loopback && allow_private);
    if !scheme_fits || !url.username().is_empty() || url.password().is_some() {
        return Err(refused());
    }
    if let Some(address) = address {
        // The HTTP library asks no resolver about literals, so this is where they are checked.
        permits(address, allow_private)
            .map_err(|why| FetchError::Address { host: address.to_string(), why: why.into() })?;
    }
    Ok(url)
}

/// What the HTTP library asks for addresses: only checked ones come out, and it connects to nothing else.
struct Checked {
    resolver: Resolver,
    allow_private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, allow_private) = (self.resolver.clone(), self.allow_private);
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str(), allow_private).await?;
            // Port 0: the one that the URL means.
            let sockets: Addrs = Box::new(addresses.into_iter().map(move |address| resolver.socket(address, 0)));
            Ok(sockets)
        })
    }
}

/// A file of certificate authorities.
pub(super) struct CaFile<'a> {
    path: &'a Path,
    pem: Vec<u8>,
}

pub(super) fn read(path: &Path) -> Result<CaFile<'_>, Fault> {
    let pem = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    Ok(CaFile { path, pem })
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    Fault::gateway(format!("upstreams.ca_file {}: {why}; give a PEM file of certificates", path.display()))
}

impl Clients {
    fn new(resolver: &Resolver, authorities: Option<&CaFile<'_>>) -> Result<Self, Fault> {
        let tls = tls_config(authorities)?;
        let checked = |allow_private| Checked { resolver: resolver.clone(), allow_private };
        Ok(Self {
            public: build(checked(false), tls.clone())?,
            private: build(checked(true), tls)?,
            authorities: authorities.map(|file| Digest::of(&file.pem)),
        })
    }
}

fn build(resolver: Checked, tls: ClientConfig) -> Result<Pair, Fault> {
    let resolver = Arc::new(resolver);
    let mut http1 = tls.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Pair {
        reusing: client(&resolver, &tls, 4)?,
        fresh: client(&resolver, &tls, 0)?,
        upgrading: client(&resolver, &http1, 0)?,
    })
}

/// A client that keeps so many idle connections to a host.
fn client(resolver: &Arc<Checked>, tls: &ClientConfig, idle: usize) -> Result<reqwest::Client, Fault> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(resolver.clone())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(HttpClient::CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(idle)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Fault::gateway(format!("the outbound HTTP client cannot be made: {error}")))
}

/// The certificate authorities of a file, or the system's.
pub(super) fn roots(authorities: Option<&CaFile<'_>>) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(CaFile { path, pem }) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.map_err(|error| unusable(path, &error)).map(|one| roots.add(one))?;
                added.map_err(|error| unusable(path, &error))?;
            }
            if roots.is_empty() {
                return Err(unusable(path, &"it holds no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(super::authorities::of_system());
            if roots.is_empty() {
                tracing::warn!("this system has no certificate authorities: no https upstream can be reached");
            }
        }
    }
    Ok(roots)
}

fn tls_config(authorities: Option<&CaFile<'_>>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Fault::gateway)?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

pub(super) fn failure(host: &str, error: &reqwest::Error) -> FetchError {
    let host = host.to_owned();
    let mut innermost: &dyn Error = error;
    loop {
        if let Some(why) = innermost.downcast_ref::<ResolveError>() {
            return FetchError::Address { host, why: why.clone() };
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    if error.is_timeout() {
        return FetchError::Timeout(host);
    }
    FetchError::Connection { host, why: innermost.to_string() }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
