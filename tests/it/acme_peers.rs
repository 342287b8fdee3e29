//! Certificate authorities that speak ACME: Debian's pebble with its own DNS, a name server that takes updates, and one of ours that
//! only refuses.

use crate::raw::PATIENCE;
use crate::tls_peers::Authority;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use portcullis::certificates::{CertificateStatus, State};
use portcullis::config::{Acme, Challenge, Config, Tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::json;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as Reserved};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The domain of every gateway here.
pub const DOMAIN: &str = "gw.test";

/// A port that nobody else is given: outside of the range in which the system chooses.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 1500).unwrap() * 10;
    (0..)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|port| Reserved::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// A name server that leads every name to this machine, whose records anybody may change over HTTP.
pub struct Names {
    pub dns: SocketAddr,
    pub management: SocketAddr,
    _process: Child,
}

impl Names {
    pub async fn start() -> Self {
        let (dns, management) = (here(port()), here(port()));
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-dns01", &dns.to_string(), "-management", &management.to_string(), "-defaultIPv6", ""]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let process = start(command);
        listens(management).await;
        Self { dns, management, _process: process }
    }
}

/// Debian's pebble.
pub struct Pebble {
    pub address: SocketAddr,
    authority: Authority,
    config: PathBuf,
    dns: SocketAddr,
    directory: TempDir,
    process: Option<Child>,
}

/// The account elsewhere that pebble wants, and its key.
pub const EXTERNAL: (&str, &str) = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

impl Pebble {
    /// One that asks at these ports and resolves names at `dns`.
    pub async fn start(dns: SocketAddr, http_port: u16, tls_port: u16, external: bool) -> Self {
        let authority = Authority::new("of the directory");
        let Tls::Files { cert, key } = authority.files(&["localhost"]) else { panic!() };
        let (address, directory) = (here(port()), TempDir::new().unwrap());
        let config = json!({"pebble": {
            "listenAddress": address.to_string(), "managementListenAddress": "", "certificate": cert, "privateKey": key,
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": external,
            "externalAccountMACKeys": if external { json!({EXTERNAL.0: EXTERNAL.1}) } else { json!({}) },
        }});
        let path = directory.path().join("pebble.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut pebble = Self { address, authority, config: path, dns, directory, process: None };
        pebble.resume().await;
        pebble
    }

    /// Starts; it knows nobody.
    pub async fn resume(&mut self) {
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&self.config).args(["-dnsserver", &self.dns.to_string()]);
        command.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0"), ("PEBBLE_WFE_NONCEREJECT", "5")]);
        command.current_dir(self.directory.path());
        self.process = Some(start(command));
        listens(self.address).await;
    }

    pub async fn halt(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// What a gateway has to know of it.
    pub fn acme(&self, challenge: Challenge) -> Acme {
        acme(self.address.port(), self.authority.file(), challenge)
    }
}

fn acme(port: u16, ca_file: PathBuf, challenge: Challenge) -> Acme {
    Acme {
        email: Some("admin@gw.test".to_owned()),
        directory: format!("https://localhost:{port}/dir"),
        challenge,
        external_account: None,
        ca_file: Some(ca_file),
        renew_before: None,
    }
}

/// Makes a gateway order at `acme` and listen at these ports.
pub fn order_at(config: &mut Config, acme: &Acme, http_port: u16, tls_port: u16) {
    config.tls = Tls::Acme(Box::new(acme.clone()));
    config.server.domain = DOMAIN.to_owned();
    config.server.listen = vec![here(tls_port)];
    config.server.http_listen = Some(here(http_port));
}

/// An authority that gives accounts, and refuses every order.
pub struct Refusing {
    port: u16,
    authority: Authority,
    counts: Arc<Mutex<Counts>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub accounts: u32,
    pub orders: u32,
    /// How often somebody asked when to renew.
    pub renewals: u32,
}

impl Refusing {
    /// The first order finds that the account is no longer taken, all others that there were too many.
    pub async fn start(retry_after: Duration) -> Self {
        let authority = Authority::new("of the directory");
        let (certificate, key) = authority.issue(&["localhost"]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let (listener, counts) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::<Mutex<Counts>>::default());
        let port = listener.local_addr().unwrap().port();
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), counts.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counts) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = |request: Request<Incoming>| {
                        let answer = refuse(port, request.uri().path(), &mut counts.lock(), retry_after);
                        async { Ok::<_, Infallible>(answer) }
                    };
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await);
                });
            }
        });
        Self { port, authority, counts, task }
    }

    pub fn acme(&self) -> Acme {
        acme(self.port, self.authority.file(), Challenge::Http01)
    }

    pub fn counts(&self) -> Counts {
        *self.counts.lock()
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn refuse(port: u16, path: &str, counts: &mut Counts, retry_after: Duration) -> Response<Full<Bytes>> {
    let url = |path: &str| format!("https://localhost:{port}/{path}");
    let problem = |kind: &str| json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "no"});
    let (status, body) = match path {
        "/dir" => (
            200,
            json!({"newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
            "renewalInfo": url("renewal")}),
        ),
        "/account" => {
            counts.accounts += 1;
            (201, json!({"status": "valid"}))
        }
        "/order" => {
            counts.orders += 1;
            if counts.orders == 1 { (401, problem("unauthorized")) } else { (429, problem("rateLimited")) }
        }
        path if path.starts_with("/renewal/") => {
            counts.renewals += 1;
            let window = json!({"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"});
            (200, json!({ "suggestedWindow": window }))
        }
        _ => (200, json!({})),
    };
    let mut response = Response::builder().status(status).header("Replay-Nonce", "bm9uY2U");
    if status == 429 {
        response = response.header("Retry-After", retry_after.as_secs());
    }
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let response =
        response.header("Content-Type", kind).header("Location", url(&format!("accounts/{}", counts.accounts)));
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

/// Debian's knot: a zone that takes updates signed with a key.
pub struct Knot {
    pub address: SocketAddr,
    _directory: TempDir,
    _process: Child,
}

pub const KEY_NAME: &str = "acme.gw.test";
pub const KEY: &str = "c2VjcmV0IG9mIHRoZSB6b25lJ3MgcHJpbWFyeSBzZXJ2ZXI=";

impl Knot {
    pub async fn start() -> Self {
        let (address, directory) = (here(port()), TempDir::new().unwrap());
        let at = directory.path().display();
        let config = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\ndatabase:\n    storage: {at}\n\
             key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY}\n\
             acl:\n  - id: acme\n    key: {KEY_NAME}\n    action: update\n\
             zone:\n  - domain: {DOMAIN}\n    storage: {at}\n    file: zone\n    acl: acme\n",
            port = address.port()
        );
        let zone = format!("$ORIGIN {DOMAIN}.\n@ 60 SOA ns admin 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n");
        std::fs::write(directory.path().join("zone"), zone).unwrap();
        let file = directory.path().join("knot.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(file);
        let process = start(command);
        listens(address).await;
        Self { address, _directory: directory, _process: process }
    }
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; `make deps` installs it"))
}

async fn listens(address: SocketAddr) {
    let began = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody listens on {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until all certificates of a gateway are good, or until `is_so` for some other reason.
pub async fn reaches(status: impl Fn() -> Vec<CertificateStatus>, is_so: impl Fn(&[CertificateStatus]) -> bool) {
    let began = Instant::now();
    loop {
        let status = status();
        if is_so(&status) {
            return;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn all_valid(status: &[CertificateStatus]) -> bool {
    status.iter().all(|one| one.state == State::Valid && one.last_error.is_none())
}

/// A connection that takes whatever certificate there is.
pub async fn connect(port: u16, host: &str) -> Option<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

/// The certificate that a gateway presents to somebody who asks for a name.
pub async fn presented(port: u16, host: &str) -> CertificateDer<'static> {
    let stream = connect(port, host).await.expect("no handshake");
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Its names, and who has issued it.
pub fn names_of(certificate: &CertificateDer<'_>) -> (Vec<String>, String) {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
    let names = names.map(|name| name.to_string().replace("DNSName(", "").replace(')', "")).collect();
    (names, parsed.issuer().to_string())
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
