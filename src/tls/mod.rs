//! Certificates for the listeners.

use crate::error::Fault;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificate chain and key from two PEM files, presented whatever name the client asks for: a wildcard certificate for
/// the root domain covers all hostnames.
#[derive(Debug)]
pub struct CertificateFiles {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl CertificateFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// When a file cannot be read, holds no certificate or key, or the two do not belong together.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, Fault> {
        let current = ArcSwap::from_pointee(read(chain, key)?);
        Ok(Self { chain: chain.to_owned(), key: key.to_owned(), current })
    }

    /// Reads both files again; new connections see the result, open ones are not touched.
    ///
    /// # Errors
    /// As [`CertificateFiles::load`]; the certificate in force stays.
    pub fn reload(&self) -> Result<(), Fault> {
        self.current.store(Arc::new(read(&self.chain, &self.key)?));
        Ok(())
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

    fn write_pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        fs::write(&chain, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (chain, key)
    }

    #[test]
    fn a_pair_loads_and_reloads_and_a_mixed_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write_pair(directory.path(), "a.example");
        let (other_chain, other_key) = write_pair(directory.path(), "b.example");
        let files = CertificateFiles::load(&chain, &key).unwrap();
        let before = files.current.load_full();
        fs::copy(&other_chain, &chain).unwrap();
        assert!(files.reload().unwrap_err().private.contains("does not belong"));
        assert!(Arc::ptr_eq(&before, &files.current.load_full()));
        fs::copy(&other_key, &key).unwrap();
        files.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &files.current.load_full()));
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
