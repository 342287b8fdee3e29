//! `[tls]`: whose certificates the listeners present, and how they are got.

use super::document::Place;
use super::ground::LOCALHOST;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::units;
use crate::secret::Secret;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

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

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

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
            let acme = section(acme, directories);
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
        section(acme, directories);
    }
    reader.finish();
    tls.unwrap_or(Tls::Off)
}

fn section(mut reader: Reader<'_>, directories: &Directories) -> Acme {
    let directory = reader.parsed("directory", directory).map_or_else(|| LETS_ENCRYPT.to_owned(), |found| found.value);
    let acme = Acme {
        email: reader.parsed("email", email).map(|found| found.value),
        directory,
        challenge: challenge(&mut reader, directories),
        external_account: external_account(&mut reader, directories),
        ca_file: secrets::path(&mut reader, "ca_file", directories).map(|found| found.value),
        renew_before: reader.parsed("renew_before", units::positive_duration).map(|found| found.value),
    };
    reader.finish();
    acme
}

fn challenge(reader: &mut Reader<'_>, directories: &Directories) -> Challenge {
    let word = reader.parsed("challenge", |text| match text {
        "http-01" | "tls-alpn-01" | "dns-01" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is not a challenge: write \"http-01\", \"tls-alpn-01\" or \"dns-01\"")),
    });
    let has_update = reader.has("rfc2136");
    let update = reader.table("rfc2136");
    let hook_place = reader.has_some("hook");
    let hook = reader.list("hook", |text| Ok(text.to_owned()));
    let update = has_update.then(|| rfc2136(update, directories)).flatten();
    let hook = hook.filter(|_| hook_place).and_then(|found| hook_command(reader, found));
    match word.as_ref().map(|word| word.value.as_str()) {
        Some("tls-alpn-01") => Challenge::TlsAlpn01,
        Some("dns-01") => {
            let place = word.map_or(Place::Nowhere, |word| word.place);
            match (update, hook, has_update, hook_place) {
                (Some(update), None, _, false) => return Challenge::Dns01(Records::Update(update)),
                (None, Some(hook), false, _) => return Challenge::Dns01(Records::Hook(hook)),
                (.., true, true) => {
                    reader.error(&place, "challenge", "has two ways to the DNS: keep either tls.acme.rfc2136 or hook");
                }
                (.., false, false) => {
                    let why = "\"dns-01\" needs a way to the DNS: [tls.acme.rfc2136] for dynamic updates, or hook = \
                               [\"/path/to/program\"]";
                    reader.error(&place, "challenge", why);
                }
                // What is wrong with it was said.
                _ => {}
            }
            Challenge::Http01
        }
        _ => Challenge::Http01,
    }
}

fn hook_command(reader: &Reader<'_>, found: Found<Vec<String>>) -> Option<Vec<String>> {
    let Found { value: command, place } = found;
    let program = command.first().map(Path::new)?;
    if !program.is_absolute() {
        reader.error(
            &place,
            "hook",
            "must begin with the absolute path of a program, like \"/usr/local/bin/dns-hook\"",
        );
        return None;
    }
    if !program.is_file() {
        let why = format!("there is no program {}: create it or correct the path", program.display());
        reader.error(&place, "hook", why);
        return None;
    }
    Some(command)
}

/// All of it or nothing.
fn rfc2136(mut reader: Reader<'_>, directories: &Directories) -> Option<Rfc2136> {
    let place = reader.place.clone();
    let server = reader.parsed("server", name_server);
    let zone = reader.parsed("zone", dns_name);
    let key_name = reader.parsed("key_name", dns_name);
    let algorithm = reader.parsed("key_algorithm", |text| match text.to_ascii_lowercase().as_str() {
        "hmac-sha256" => Ok(TsigAlgorithm::HmacSha256),
        "hmac-sha384" => Ok(TsigAlgorithm::HmacSha384),
        "hmac-sha512" => Ok(TsigAlgorithm::HmacSha512),
        _ => Err(format!("{text:?} is not supported: write \"hmac-sha256\", \"hmac-sha384\" or \"hmac-sha512\"")),
    });
    let key = secrets::take(&mut reader, ("key", "key_file"), "tls.acme.rfc2136.key", directories);
    let key = key.and_then(|found| match BASE64.decode(found.value.expose().as_bytes()) {
        Ok(bytes) if !bytes.is_empty() => Some(found.value),
        _ => {
            reader.error(&found.place, "key", "is not base64: copy the secret of the TSIG key as its server has it");
            None
        }
    });
    let update = match (server, zone, key_name, key) {
        (Some(server), Some(zone), Some(key_name), Some(key)) => Some(Rfc2136 {
            server: server.value,
            zone: zone.value,
            key_name: key_name.value,
            algorithm: algorithm.map_or(TsigAlgorithm::HmacSha256, |found| found.value),
            key,
        }),
        _ => {
            let why = "tls.acme.rfc2136 needs all of server, zone, key_name and key_file";
            reader.error(&place, "server", why);
            None
        }
    };
    reader.finish();
    update
}

fn external_account(reader: &mut Reader<'_>, directories: &Directories) -> Option<ExternalAccount> {
    let key_id = reader.text("eab_key_id").filter(|found| !found.value.is_empty());
    let key = secrets::take(reader, ("eab_hmac_key", "eab_hmac_key_file"), "tls.acme.eab_hmac_key", directories);
    match (key_id, key) {
        (None, None) => None,
        (Some(key_id), Some(key)) => {
            let text = key.value.expose().trim_end_matches('=');
            if BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| !bytes.is_empty()) {
                return Some(ExternalAccount { key_id: key_id.value, hmac_key: Secret::new(text.to_owned()) });
            }
            reader.error(&key.place, "eab_hmac_key", "is not base64url: copy the HMAC key as the authority shows it");
            None
        }
        (Some(found), None) => {
            reader.error(&found.place, "eab_key_id", "needs the key that belongs to it, in eab_hmac_key_file");
            None
        }
        (None, Some(found)) => {
            reader.error(&found.place, "eab_hmac_key", "needs the name that belongs to it, in eab_key_id");
            None
        }
    }
}

fn directory(text: &str) -> Result<String, String> {
    match text {
        "letsencrypt" => return Ok(LETS_ENCRYPT.to_owned()),
        "letsencrypt-staging" => return Ok(LETS_ENCRYPT_STAGING.to_owned()),
        _ => {}
    }
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.username().is_empty());
    url.map(String::from).ok_or_else(|| {
        format!(
            "{text:?} is not the https URL of an ACME directory: write \"letsencrypt\", \"letsencrypt-staging\", or the \
             URL that your authority names"
        )
    })
}

fn email(text: &str) -> Result<String, String> {
    let good = |(local, host): (&str, &str)| !local.is_empty() && host.contains('.');
    let plain = text.chars().all(|c| c.is_ascii_graphic() && !"<>,;:\"?&%".contains(c));
    match text.split_once('@').is_some_and(good) && plain {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not an e-mail address: write it like \"admin@example.com\"")),
    }
}

/// Addresses only: the DNS may be what is being changed.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    text.parse().or_else(|_| address()).map_err(|_| {
        format!("{text:?} is not an address: write the primary server's, like \"192.0.2.53\" or \"192.0.2.53:53\"")
    })
}

fn dns_name(text: &str) -> Result<String, String> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let good = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match name.len() <= 253 && name.split('.').all(good) {
        true => Ok(name),
        false => Err(format!("{text:?} is not a name of the DNS: write it like \"example.com\"")),
    }
}
