//! One certificate for everybody that ends TLS, and the two sides of TLS for mock and load generator.

use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The gateway's domain where it ends TLS.
pub const DOMAIN: &str = "gw.example";
/// The upstream's name where it ends TLS; the gateway speaks TLS to every name but loopback ones.
pub const UPSTREAM: &str = "upstream.example";

/// An ECDSA certificate (P-256), which is what authorities issue by default, for [`DOMAIN`], the names below it and [`UPSTREAM`].
pub struct Files {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub both: PathBuf,
}

impl Files {
    pub fn make(directory: &Path) -> Result<Self, String> {
        let make = || -> Result<(String, String), rcgen::Error> {
            let names = [DOMAIN.to_owned(), format!("*.{DOMAIN}"), UPSTREAM.to_owned(), "localhost".to_owned()];
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(names)?.self_signed(&key)?;
            Ok((certificate.pem(), key.serialize_pem()))
        };
        let (chain, key) = make().map_err(|error| error.to_string())?;
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display())).map(|()| path)
        };
        Ok(Self {
            chain: write("certificate.pem", &chain)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &format!("{chain}{key}"))?,
        })
    }
}

/// The side that has a certificate.
pub fn acceptor(chain: &Path, key: &Path, protocols: &[&[u8]]) -> Result<TlsAcceptor, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let chain = CertificateDer::pem_file_iter(chain).map_err(|error| said(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| said(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| said(&error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| said(&error))?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| said(&error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The side that connects. It takes every certificate: what is measured is at the other end, and it never resumes a session, so
/// that every handshake is a whole one.
pub fn connector(protocol: &[u8]) -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
