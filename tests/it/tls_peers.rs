//! What stands on both sides of a gateway with TLS: a certificate authority, clients, upstreams.

use crate::raw::PATIENCE;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use portcullis::clock::Timestamp;
use portcullis::config::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate authority of one's own, and a directory for its files.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub fn issue(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Chain and key in files, as a gateway is configured.
    pub fn files(&self, names: &[&str]) -> Tls {
        let (certificate, key) = self.issue(names);
        let (cert, key_file) = (self.directory.path().join("cert.pem"), self.directory.path().join("key.pem"));
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        Tls::Files { cert, key: key_file }
    }

    /// The same, good since 2020 and until then.
    pub fn files_until(&self, names: &[&str], until: Timestamp) -> Tls {
        let Tls::Files { cert, key } = self.files(names) else { panic!() };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let date: Vec<i32> = until.to_rfc3339()[..10].split('-').map(|part| part.parse().unwrap()).collect();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after =
            rcgen::date_time_ymd(date[0], u8::try_from(date[1]).unwrap(), u8::try_from(date[2]).unwrap());
        let pair = KeyPair::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
        std::fs::write(&cert, params.signed_by(&pair, &self.issuer).unwrap().pem()).unwrap();
        Tls::Files { cert, key }
    }

    /// A TLS connection to a gateway, as a client that trusts this authority.
    pub async fn connect(&self, port: u16, host: &str, protocol: &str) -> TlsStream<TcpStream> {
        self.handshake(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), host, protocol).await
    }

    /// The same on a connection that is there already.
    pub async fn handshake(&self, stream: TcpStream, host: &str, protocol: &str) -> TlsStream<TcpStream> {
        let stream = self.begin(stream, host, protocol).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    }

    /// The same with a gateway that may be going away.
    pub async fn try_handshake(&self, stream: TcpStream, host: &str, protocol: &str) -> Option<TlsStream<TcpStream>> {
        self.begin(stream, host, protocol).await.ok()
    }

    async fn begin(&self, stream: TcpStream, host: &str, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(host.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// A client of HTTP/2 that decides about every frame.
pub struct Frames {
    sender: h2::client::SendRequest<Bytes>,
}

impl Frames {
    pub async fn connect(authority: &Authority, port: u16, host: &str) -> Self {
        let stream = authority.connect(port, host, "h2").await;
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a request without a body; whoever drops what this returns has cancelled it.
    pub async fn begin(&self, request: http::request::Builder) -> h2::client::ResponseFuture {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(request.body(()).unwrap(), true).unwrap().0
    }

    /// Sends a body in these pieces, then an empty one that ends the stream.
    pub async fn post(&self, request: http::request::Builder, pieces: &[Bytes]) -> (StatusCode, String) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        for piece in pieces {
            body.send_data(piece.clone(), false).unwrap();
        }
        body.send_data(Bytes::new(), true).unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await.expect("no answer").unwrap();
        let (parts, mut stream) = response.into_parts();
        let mut text = Vec::new();
        while let Some(chunk) = stream.data().await {
            text.extend_from_slice(&chunk.unwrap());
        }
        (parts.status, String::from_utf8(text).unwrap())
    }
}

/// An upstream over TLS that notes version and authority of every request and answers by its path: `/echo` with what it
/// got, `/empty` with nothing, `/events` with one event and a stream that stays open, `/upload` with `{}` when it has told all
/// that came, `/early` with a 413 before anything came, everything else with `{}`.
pub struct TlsUpstream {
    pub port: u16,
    /// The other end of every stream of events.
    pub streams: mpsc::UnboundedReceiver<mpsc::Sender<Bytes>>,
    /// What came for `/upload`, piece by piece.
    pub pieces: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl TlsUpstream {
    pub async fn start(authority: &Authority, name: &str, protocols: &[&str]) -> Self {
        let (certificate, key) = authority.issue(&[name]);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (opened, streams) = mpsc::unbounded_channel();
        let (came, pieces) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { seen: Mutex::default(), opened, came });
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), shared.clone()));
        Self { port, streams, pieces, shared, task }
    }

    pub fn seen(&self) -> Vec<(Version, String)> {
        self.shared.seen.lock().clone()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    seen: Mutex<Vec<(Version, String)>>,
    opened: mpsc::UnboundedSender<mpsc::Sender<Bytes>>,
    came: mpsc::UnboundedSender<Bytes>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, shared.clone()));
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let host = request.headers().get(header::HOST).map(|value| value.to_str().unwrap().to_owned());
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    shared.seen.lock().push((request.version(), host.clone()));
    let path = request.uri().path().to_owned();
    if path == "/early" {
        let body = BodyExt::boxed_unsync(Full::new(Bytes::from_static(b"too large")));
        return Ok(Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(body).unwrap());
    }
    let mut body = request.into_body();
    if path == "/upload" {
        while let Some(Ok(frame)) = body.frame().await {
            frame.into_data().into_iter().for_each(|piece| shared.came.send(piece).unwrap());
        }
    }
    let sent = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    let whole = |bytes: Bytes| Full::new(bytes).boxed_unsync();
    let body = match path.as_str() {
        "/echo" => whole(sent),
        "/client.json" => whole(client_document(&host).into()),
        "/empty" => {
            response = response.status(StatusCode::NO_CONTENT);
            whole(Bytes::new())
        }
        "/events" => {
            response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
            let (sender, receiver) = mpsc::channel(8);
            sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
            shared.opened.send(sender).unwrap();
            let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
                receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
            });
            BodyExt::boxed_unsync(StreamBody::new(frames))
        }
        _ => whole(Bytes::from("{}")),
    };
    Ok(response.body(body).unwrap())
}

fn client_document(host: &str) -> String {
    serde_json::json!({
        "client_id": format!("https://{host}/client.json"),
        "client_name": "Test",
        "redirect_uris": ["https://app.example/callback"],
    })
    .to_string()
}
