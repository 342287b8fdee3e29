//! Looking at a server's door without going in: whether it can be reached, and what it shows in a TLS handshake. A client
//! that verifies learns of one mistake and hangs up; this one takes every certificate and says afterwards what is wrong with it.

use super::client::{read, roots};
use super::{Resolver, permits};
use crate::clock::Timestamp;
use crate::error::Fault;
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// How long a connection, and then a handshake, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens connections to look at them.
#[derive(Clone)]
pub struct Prober {
    resolver: Resolver,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

/// Why there is no connection, or no handshake. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Knock {
    /// The address guard forbids this address.
    #[error("the address is private, local or reserved")]
    Forbidden,
    /// Nothing answered in time: mostly a firewall.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// Nobody listens, or the network is not there.
    #[error("{0}")]
    Refused(String),
    /// The two have no TLS in common, or the other side speaks something else.
    #[error("{0}")]
    NoTls(String),
}

/// What a server showed.
#[derive(Clone, Debug)]
pub struct TlsHandshake {
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// The protocol that was agreed upon, such as `h2`; none when the server does not negotiate.
    pub protocol: Option<String>,
    /// How many certificates it sent.
    pub chain: usize,
    /// When its own certificate ends, as far as that is known.
    pub not_after: Option<Timestamp>,
    /// Everything that clients would refuse it for.
    pub distrust: Vec<Distrust>,
}

/// A reason to refuse a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It is for other names.
    Name {
        /// For these.
        presented: Vec<String>,
    },
    /// It has ended, or not begun.
    Time,
    /// It leads to a certificate that the server did not send.
    MissingIntermediate,
    /// It vouches for itself.
    SelfSigned,
    /// Who signed it is unknown here.
    UnknownIssuer,
    /// Something else, in words.
    Other(String),
}

impl Prober {
    /// A prober that trusts the system's certificate authorities, or only those in `ca_file`.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn new(resolver: Resolver, ca_file: Option<&Path>) -> Result<Self, Fault> {
        let authorities = ca_file.map(read).transpose()?;
        let (provider, roots) = (Arc::new(rustls::crypto::ring::default_provider()), roots(authorities.as_ref())?);
        // Without authorities nothing is verified; everything is then somebody unknown.
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().ok();
        Ok(Self { resolver, provider, verifier })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect(&self, address: IpAddr, port: u16, allow_private: bool) -> Result<TcpStream, Knock> {
        permits(address, allow_private).map_err(|_| Knock::Forbidden)?;
        match tokio::time::timeout(PATIENCE, TcpStream::connect(self.resolver.socket(address, port))).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Knock::Refused(error.kind().to_string())),
            Err(_) => Err(Knock::Silence),
        }
    }

    /// Shakes hands over a connection and judges what was shown at the time `now`.
    ///
    /// # Errors
    /// When there is no handshake at all.
    pub async fn handshake(&self, stream: TcpStream, host: &str, now: Timestamp) -> Result<TlsHandshake, Knock> {
        let failed = |error: &dyn std::fmt::Display| Knock::NoTls(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let recorder = Arc::new(Recorder { provider: self.provider.clone(), shown: Mutex::default() });
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(recorder.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connecting = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
        let shaken = tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| Knock::Silence)?;
        let shaken = shaken.map_err(|error| failed(&error))?;
        let (_, connection) = shaken.get_ref();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let protocol = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let shown = std::mem::take(&mut *recorder.shown.lock());
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0)));
        Ok(TlsHandshake {
            version,
            protocol,
            chain: shown.len(),
            not_after: end_of(&shown),
            distrust: self.distrust(&shown, &name, at),
        })
    }

    /// Everything that is wrong: a mistake hides the next one, so what was found is set right and the rest looked at again.
    fn distrust(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime) -> Vec<Distrust> {
        let (mut found, mut name, mut now) = (Vec::new(), name.to_owned(), now);
        for _ in 0..3 {
            match self.verify(chain, &name, now) {
                Ok(()) => break,
                Err(Error::InvalidCertificate(error)) => match error {
                    CertificateError::NotValidForNameContext { presented, .. } => {
                        let concrete = presented.iter().map(|one| one.trim_start_matches("*.")).next();
                        let wildcard = presented.first().is_some_and(|one| one.starts_with("*."));
                        let fitting = concrete.map(|rest| if wildcard { format!("x.{rest}") } else { rest.to_owned() });
                        let fitting = fitting.and_then(|fitting| ServerName::try_from(fitting).ok());
                        found.push(Distrust::Name { presented });
                        let Some(fitting) = fitting else { break };
                        name = fitting;
                    }
                    CertificateError::ExpiredContext { not_after, .. } => {
                        found.push(Distrust::Time);
                        now = not_after;
                    }
                    CertificateError::NotValidYetContext { not_before, .. } => {
                        found.push(Distrust::Time);
                        now = not_before;
                    }
                    CertificateError::UnknownIssuer => {
                        found.push(orphan(chain));
                        break;
                    }
                    other => {
                        found.push(Distrust::Other(other.to_string()));
                        break;
                    }
                },
                Err(error) => {
                    found.push(Distrust::Other(error.to_string()));
                    break;
                }
            }
        }
        found
    }

    fn verify(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let ((leaf, rest), verifier) = chain.split_first().zip(self.verifier.as_ref()).ok_or(unknown)?;
        verifier.verify_server_cert(leaf, rest, name, &[], now).map(drop)
    }
}

/// When the server's own certificate ends.
fn end_of(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(Timestamp(leaf.validity().not_after.timestamp()))
}

/// Why nobody here knows who signed a certificate.
fn orphan(chain: &[CertificateDer<'_>]) -> Distrust {
    let parsed: Vec<_> = chain.iter().filter_map(|one| Some(X509Certificate::from_der(one).ok()?.1)).collect();
    let Some((leaf, others)) = parsed.split_first() else { return Distrust::UnknownIssuer };
    let issuer = leaf.issuer().as_raw();
    if issuer == leaf.subject().as_raw() {
        Distrust::SelfSigned
    } else if others.iter().any(|one| one.subject().as_raw() == issuer) {
        Distrust::UnknownIssuer
    } else {
        Distrust::MissingIntermediate
    }
}

/// Takes every certificate and keeps it.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    shown: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock() = [leaf].into_iter().chain(rest).map(|one| one.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
