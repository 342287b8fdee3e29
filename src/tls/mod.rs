//! Certificates for the listeners: read, checked, and chosen by the name that a client asks for.

mod facts;
mod served;

pub use served::{Selection, Served};

use crate::clock::Timestamp;
use crate::error::Fault;
use facts::Facts;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use served::ACME_TLS;
use std::path::Path;
use std::sync::Arc;

/// A chain and its key, read and checked.
#[derive(Clone, Debug)]
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    facts: Facts,
}

impl Certificate {
    /// Reads two PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, holds no certificate or key, or the two do not belong together.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, Fault> {
        let wrong = |setting: &str, path: &Path, why: &dyn std::fmt::Display| {
            Fault::gateway(format!("{setting}: {}: {why}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong("tls.cert", chain, &error))?;
        if certificates.is_empty() {
            return Err(Fault::gateway(format!("tls.cert: {} holds no certificate", chain.display())));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls.key", key, &error))?;
        Self::new(certificates, &private).map_err(|unfit| match unfit {
            Unfit::Certificate(why) => wrong("tls.cert", chain, &why),
            Unfit::Key(why) => wrong("tls.key", key, &why),
            Unfit::Pair => Fault::gateway(format!(
                "tls.key: the key in {} does not belong to the certificate in {}",
                key.display(),
                chain.display()
            )),
        })
    }

    /// A chain in PEM, and a key in PKCS#8.
    ///
    /// # Errors
    /// As [`Certificate::read`].
    pub fn parse(chain: &str, key: &[u8]) -> Result<Self, Fault> {
        let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| Fault::gateway(format!("a certificate is no PEM: {error}")))?;
        Self::new(certificates, &PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()))).map_err(|unfit| {
            match unfit {
                Unfit::Certificate(why) | Unfit::Key(why) => Fault::gateway(why),
                Unfit::Pair => Fault::gateway("a key does not belong to its certificate"),
            }
        })
    }

    /// One that was made here, with its key in PKCS#8. It is not compared with its key: whoever does that refuses critical extensions that
    /// only validating servers know (RFC 8737 §3).
    ///
    /// # Errors
    /// When one of the two is none.
    pub fn made(certificate: CertificateDer<'static>, key: Vec<u8>) -> Result<Self, Fault> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        Self::unchecked(vec![certificate], &key).map_err(|_| Fault::gateway("a certificate of our own is none"))
    }

    fn new(chain: Vec<CertificateDer<'static>>, private: &PrivateKeyDer<'static>) -> Result<Self, Unfit> {
        let certificate = Self::unchecked(chain, private)?;
        match certificate.certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certificate),
            Err(_) => Err(Unfit::Pair),
        }
    }

    fn unchecked(chain: Vec<CertificateDer<'static>>, private: &PrivateKeyDer<'static>) -> Result<Self, Unfit> {
        let first = chain.first().ok_or_else(|| Unfit::Certificate("there is no certificate".to_owned()))?;
        let facts = Facts::of(first).ok_or_else(|| Unfit::Certificate("this is no X.509 certificate".to_owned()))?;
        let signing = ring::sign::any_supported_type(private).map_err(|error| Unfit::Key(error.to_string()))?;
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, signing)), facts })
    }

    /// The names that it is for, `*.` in front of those that stand for many.
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// From when to when it is good.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.facts.not_before, self.facts.not_after)
    }

    /// How its authority is asked about it: key identifier and serial number in base64url (RFC 9773 §4.1).
    pub fn renewal_id(&self) -> Option<&str> {
        self.facts.renewal_id.as_deref()
    }

    /// Whether it is the very same.
    pub fn is_same(&self, other: &Certificate) -> bool {
        self.certified.cert == other.certified.cert
    }
}

/// The same, which chooses the cipher suite itself, as scanners want it (all of them are good ones), and which also speaks what an authority
/// speaks that looks whether a name is ours (RFC 8737 §4).
pub fn as_we_serve(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ignore_client_order = true;
    config.alpn_protocols.push(ACME_TLS.to_vec());
    Arc::new(config)
}

/// What is wrong with a chain and a key.
enum Unfit {
    Certificate(String),
    Key(String),
    Pair,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn write_pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        fs::write(&chain, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (chain, key)
    }

    #[test]
    fn a_pair_is_told_from_another_and_a_mixed_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write_pair(directory.path(), "a.example");
        let (other_chain, other_key) = write_pair(directory.path(), "b.example");
        let first = Certificate::read(&chain, &key).unwrap();
        assert_eq!(first.names(), ["a.example"]);
        assert!(first.is_same(&Certificate::read(&chain, &key).unwrap()));
        fs::copy(&other_chain, &chain).unwrap();
        let Err(fault) = Certificate::read(&chain, &key) else { panic!("a mixed pair was taken") };
        assert!(fault.private.contains("does not belong"));
        fs::copy(&other_key, &key).unwrap();
        assert!(!first.is_same(&Certificate::read(&chain, &key).unwrap()));
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write_pair(directory.path(), "a.example");
        let missing = directory.path().join("missing.pem");
        assert!(Certificate::read(&missing, &key).unwrap_err().private.starts_with("tls.cert: "));
        assert!(Certificate::read(&chain, &missing).unwrap_err().private.starts_with("tls.key: "));
        assert!(Certificate::read(&key, &key).unwrap_err().private.contains("no certificate"));
    }
}
