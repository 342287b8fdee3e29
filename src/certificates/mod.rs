//! Certificates that are ordered from a certificate authority (ACME, RFC 8555), kept, and renewed; and what is known of them and of
//! those in files.
//!
//! Rows and the journal of changes are what nodes share: whoever has the lease of a certificate orders it, all others load what comes
//! of it, and any of them answers what the authority asks meanwhile.

mod account;
mod challenge;
mod dns;
mod keeper;
mod known;
mod order;
mod renewal;
mod status;
mod transport;
mod wanted;

pub use status::{CertificateStatus, Expiries, Kind, State, listed};
pub use wanted::{Wanted, advice, wanted, wanted_by};

use crate::clock::Clock;
use crate::config::{Acme, Challenge, Tls};
use crate::error::Fault;
use crate::hostname::Site;
use crate::http::{HttpClient, Resolver};
use crate::ids::Random;
use crate::store::Store;
use crate::tls::{Certificate, Selection, Served};
use crate::upstream::Registry;
use crate::vault::Vault;
use arc_swap::ArcSwap;
use data_encoding::HEXLOWER;
use known::Known;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, Semaphore};

/// How many questions of authorities may be looked up at once: anybody can ask.
const ANSWERS_AT_ONCE: usize = 16;

/// What the listeners present, and where it comes from.
pub struct Certificates {
    parts: CertificatesParts,
    served: Arc<Served>,
    source: ArcSwap<Source>,
    known: ArcSwap<Known>,
    /// Counts up whenever `source` or `known` change.
    version: AtomicU64,
    wake: Notify,
    answers: Semaphore,
    /// This process, by a name that no other has.
    holder: String,
}

/// What they are made of.
#[allow(missing_docs)] // each is documented where it is defined
pub struct CertificatesParts {
    pub store: Store,
    pub vault: Vault,
    pub registry: Arc<Registry>,
    pub resolver: Resolver,
    pub site: Site,
    pub clock: Clock,
    pub random: Random,
}

/// Where certificates come from.
pub struct Source(Kinds);

enum Kinds {
    Off,
    Files(Certificate),
    Acme(Arc<Authority>),
}

/// Whom we order from, and how it is reached.
struct Authority {
    config: Acme,
    http: HttpClient,
}

impl Certificates {
    /// Reads what there is.
    ///
    /// # Errors
    /// When a file cannot be read, or the store fails.
    pub async fn new(parts: CertificatesParts, tls: &Tls) -> Result<Arc<Self>, Fault> {
        let source = Source::read(tls, &parts.resolver)?;
        let holder = HEXLOWER.encode(&parts.random.bytes::<16>());
        let certificates = Self {
            parts,
            served: Arc::default(),
            source: ArcSwap::from_pointee(source),
            known: ArcSwap::default(),
            version: AtomicU64::new(0),
            wake: Notify::new(),
            answers: Semaphore::new(ANSWERS_AT_ONCE),
            holder,
        };
        certificates.reload().await?;
        Ok(Arc::new(certificates))
    }

    /// What handshakes look certificates up in; `None` without TLS.
    pub fn served(&self) -> Option<Arc<Served>> {
        (!matches!(self.source.load().0, Kinds::Off)).then(|| self.served.clone())
    }

    /// Reads another configuration, files included, without putting it in force.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn prepare(&self, tls: &Tls) -> Result<Source, Fault> {
        Source::read(tls, &self.parts.resolver)
    }

    /// Puts it in force; whether new connections get another certificate. Open ones are not touched.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn install(&self, source: Source) -> Result<bool, Fault> {
        let old = self.source.swap(Arc::new(source));
        self.reload().await?;
        Ok(match (&old.0, &self.source.load().0) {
            (Kinds::Files(old), Kinds::Files(new)) => !old.is_same(new),
            _ => false,
        })
    }

    /// Takes over what this or another process wrote into the database
    /// ([`crate::store::Change::CertificatesChanged`]).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reload(&self) -> Result<(), Fault> {
        let source = self.source.load_full();
        match &source.0 {
            Kinds::Off => return Ok(()),
            Kinds::Files(certificate) => self.served.install(Selection::only(certificate)),
            Kinds::Acme(authority) => {
                let known = Known::load(&self.parts, &self.known.load()).await?;
                let mut selection = known.selection(self.parts.site.domain());
                if authority.config.challenge == Challenge::TlsAlpn01 {
                    challenge::prepare(&self.parts.store, &mut selection).await?;
                }
                self.served.install(selection);
                self.known.store(Arc::new(known));
            }
        }
        self.version.fetch_add(1, Ordering::Release);
        self.wake.notify_one();
        Ok(())
    }

    /// The answer to what an authority asks over plain HTTP (RFC 8555 §8.3); `None`: nobody was told to ask that.
    ///
    /// # Errors
    /// When the store fails, or too many ask at once.
    pub async fn answer(&self, token: &str) -> Result<Option<String>, Fault> {
        let authority = self.authority();
        let expected = authority.is_some_and(|authority| authority.config.challenge == Challenge::Http01);
        if !expected || !challenge::is_token(token) {
            return Ok(None);
        }
        let _turn = self.answers.try_acquire().map_err(|_| Fault::busy("too many ask for challenges at once"))?;
        Ok(self.parts.store.acme_answer(challenge::HTTP_01, token).await?)
    }

    /// What there is and what is missing, the root domain's first.
    pub fn status(&self) -> Vec<CertificateStatus> {
        let now = self.parts.clock.now();
        match &self.source.load().0 {
            Kinds::Off => Vec::new(),
            Kinds::Files(certificate) => vec![CertificateStatus::of_files(certificate, now)],
            Kinds::Acme(authority) => {
                let known = self.known.load();
                let wanted = self.wanted(authority);
                let of = |wanted: &Wanted| {
                    CertificateStatus::of_row(wanted, known.row(&wanted.name), authority.config.renew_before, now)
                };
                wanted.iter().map(of).collect()
            }
        }
    }

    fn authority(&self) -> Option<Arc<Authority>> {
        match &self.source.load().0 {
            Kinds::Acme(authority) => Some(authority.clone()),
            _ => None,
        }
    }

    fn wanted(&self, authority: &Authority) -> Vec<Wanted> {
        wanted(&self.parts.site, &self.parts.registry, &authority.config.challenge)
    }
}

impl Source {
    fn read(tls: &Tls, resolver: &Resolver) -> Result<Self, Fault> {
        Ok(Self(match tls {
            Tls::Off => Kinds::Off,
            Tls::Files { cert, key } => Kinds::Files(Certificate::read(cert, key)?),
            Tls::Acme(config) => {
                let http = HttpClient::new(resolver.clone(), config.ca_file.as_deref());
                let http = http.map_err(|fault| Fault::gateway(fault.private.replace("upstreams.", "tls.acme.")))?;
                Kinds::Acme(Arc::new(Authority { config: Acme::clone(config), http }))
            }
        }))
    }
}
