//! `[tls]`: whose certificates the listeners present, and how they are got.

mod acme;

use super::document::Place;
use super::ground::LOCALHOST;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use crate::secret::Secret;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP: for one's own machine, or behind a proxy that ends TLS.
    Off,
    /// Certificate chain and key in PEM files.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Ordered from a certificate authority (RFC 8555).
    Acme(Box<Acme>),
}

/// `[tls.acme]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// The URL of the authority's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// How names are proven to be ours.
    pub challenge: Challenge,
    /// The account elsewhere that ours is bound to (RFC 8555 §7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// PEM file of the certificate authorities to trust for the directory itself, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long before its end a certificate is renewed; `None`: a third of its life.
    pub renew_before: Option<Duration>,
}

/// `tls.acme.challenge`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A file over HTTP on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate of its own over TLS on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4): the only way to a wildcard.
    Dns01(Records),
}

impl Challenge {
    /// As the protocol calls it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01(_) => "dns-01",
        }
    }
}

/// Who puts records into the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// We do, by dynamic updates.
    Update(Rfc2136),
    /// This program does: it is called with `present` or `cleanup`, the record's name, and its value.
    Hook(Vec<String>),
}

/// `[tls.acme.rfc2136]`: dynamic updates (RFC 2136), signed with TSIG (RFC 8945).
#[derive(Clone)]
pub struct Rfc2136 {
    /// The zone's primary server.
    pub server: SocketAddr,
    /// The zone.
    pub zone: String,
    /// The name of the key.
    pub key_name: String,
    /// What it signs with.
    pub algorithm: TsigAlgorithm,
    /// The key, in base64.
    pub key: Secret,
}

/// `tls.acme.rfc2136.key_algorithm`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `hmac-sha384`
    HmacSha384,
    /// `hmac-sha512`
    HmacSha512,
}

/// An account that somebody else than the ACME server keeps.
#[derive(Clone)]
pub struct ExternalAccount {
    /// What it is called.
    pub key_id: String,
    /// Its key, in base64url.
    pub hmac_key: Secret,
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rfc2136({} at {})", self.zone, self.server)
    }
}

impl PartialEq for Rfc2136 {
    fn eq(&self, other: &Self) -> bool {
        let Self { server, zone, key_name, algorithm, key } = self;
        (server, zone, key_name, algorithm) == (&other.server, &other.zone, &other.key_name, &other.algorithm)
            && key.matches(other.key.expose())
    }
}

impl Eq for Rfc2136 {}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalAccount({})", self.key_id)
    }
}

impl PartialEq for ExternalAccount {
    fn eq(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.hmac_key.matches(other.hmac_key.expose())
    }
}

impl Eq for ExternalAccount {}

/// `[tls]`
pub(super) fn read(mut reader: Reader<'_>, domain: &Found<String>, directories: &Directories) -> Tls {
    let cert = secrets::path(&mut reader, "cert", directories);
    let key = secrets::path(&mut reader, "key", directories);
    let has_acme = reader.has("acme");
    let acme = reader.table("acme");
    let mode = reader.text("mode");
    let mode_place = mode.as_ref().map_or(reader.place.clone(), |mode| mode.place.clone());
    let mode = mode.map(|mode| mode.value);
    let tls = match (mode.as_deref(), cert, key) {
        (Some("acme"), None, None) if domain.value == LOCALHOST => {
            let why = "no authority gives a certificate for localhost: set server.domain to a public domain, or use \
                       \"off\"";
            reader.error(&mode_place, "mode", why);
            None
        }
        (Some("acme"), None, None) => {
            let acme = acme::section(acme, domain, directories);
            reader.finish();
            return Tls::Acme(Box::new(acme));
        }
        (Some("acme"), cert, key) => {
            let place = cert.or(key).map_or(mode_place, |found| found.place);
            reader.error(&place, "mode", "\"acme\" orders certificates by itself: remove tls.cert and tls.key");
            None
        }
        (Some("files"), Some(cert), Some(key)) => Some(Tls::Files { cert: cert.value, key: key.value }),
        (Some("files"), cert, key) => {
            let place = cert.or(key).map_or(mode_place, |found| found.place);
            let why = "tls.mode = \"files\" needs both tls.cert and tls.key, two PEM files";
            reader.error(&place, "mode", why);
            None
        }
        (Some("off"), None, None) => Some(Tls::Off),
        (None, None, None) if domain.value == LOCALHOST && !has_acme => Some(Tls::Off),
        (Some("off") | None, Some(found), _) | (Some("off") | None, None, Some(found)) => {
            let why = "a certificate is used only with tls.mode = \"files\": set that, or remove tls.cert and tls.key";
            reader.error(&found.place, "mode", why);
            None
        }
        (None, None, None) => {
            let place = if reader.place == Place::Nowhere { &domain.place } else { &reader.place };
            let why = "must be given for a public domain: \"acme\" to get certificates by itself, \"files\" with tls.cert \
                       and tls.key, or \"off\" behind a proxy that ends TLS";
            reader.error(place, "mode", why);
            None
        }
        (Some(other), ..) => {
            let why = format!("{other:?} is not a mode: write \"acme\", \"files\" or \"off\"");
            reader.error(&mode_place, "mode", why);
            None
        }
    };
    // What is written for another mode may stay, as long as it is right.
    if has_acme && tls.is_some() {
        acme::section(acme, domain, directories);
    }
    reader.finish();
    tls.unwrap_or(Tls::Off)
}
