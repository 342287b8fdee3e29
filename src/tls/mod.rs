//! Certificates for the listeners.

use crate::error::Fault;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Certificate chain and key from two PEM files, presented whatever name the client asks for: a wildcard certificate for
/// the root domain covers all hostnames.
#[derive(Debug)]
pub struct CertificateFiles {
    current: ArcSwap<CertifiedKey>,
}

/// A chain and its key, read and checked.
pub struct Certificate(CertifiedKey);

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// When a file cannot be read, holds no certificate or key, or the two do not belong together.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, Fault> {
        read(chain, key).map(Self)
    }
}

impl CertificateFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// As [`Certificate::read`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, Fault> {
        Ok(Self { current: ArcSwap::from_pointee(read(chain, key)?) })
    }

    /// New connections get this one from now on, open ones are not touched. Whether it is another than before.
    pub fn install(&self, certificate: Certificate) -> bool {
        let Certificate(new) = certificate;
        let other = self.current.load().cert != new.cert;
        self.current.store(Arc::new(new));
        other
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, Fault> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| Fault::gateway(format!("tls.cert: {}: {error}", chain.display())))?;
    if certificates.is_empty() {
        return Err(Fault::gateway(format!("tls.cert: {} holds no certificate", chain.display())));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Fault::gateway(format!("tls.key: {}: {error}", key.display())))?;
    let signing = ring::sign::any_supported_type(&private)
        .map_err(|error| Fault::gateway(format!("tls.key: {}: {error}", key.display())))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err(Fault::gateway(format!(
            "tls.key: the key in {} does not belong to the certificate in {}",
            key.display(),
            chain.display()
        ))),
    }
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
    fn a_pair_is_replaced_by_another_and_a_mixed_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write_pair(directory.path(), "a.example");
        let (other_chain, other_key) = write_pair(directory.path(), "b.example");
        let files = CertificateFiles::load(&chain, &key).unwrap();
        assert!(!files.install(Certificate::read(&chain, &key).unwrap()), "it is the same");
        fs::copy(&other_chain, &chain).unwrap();
        let Err(fault) = Certificate::read(&chain, &key) else { panic!("a mixed pair was taken") };
        assert!(fault.private.contains("does not belong"));
        fs::copy(&other_key, &key).unwrap();
        assert!(files.install(Certificate::read(&chain, &key).unwrap()));
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write_pair(directory.path(), "a.example");
        let missing = directory.path().join("missing.pem");
        assert!(CertificateFiles::load(&missing, &key).unwrap_err().private.starts_with("tls.cert: "));
        assert!(CertificateFiles::load(&chain, &missing).unwrap_err().private.starts_with("tls.key: "));
        assert!(CertificateFiles::load(&key, &key).unwrap_err().private.contains("no certificate"));
    }
}
