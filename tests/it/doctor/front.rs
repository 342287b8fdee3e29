//! A reverse proxy that terminates TLS and misbehaves as it is told.

use super::stage::Shown;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What is done wrong.
pub enum Mischief {
    /// The front answers itself: at paths that begin so, to these user agents (none: to all), to bodies with this text in them.
    Answers(Own),
    /// `Host` is another one on the way to the gateway.
    Host(&'static str),
    /// Requests for one name reach the gateway under another.
    Alias(&'static str, String),
    /// A header of answers is taken away.
    Strips(HeaderName),
    /// A text in heads and bodies of answers is another one.
    Replaces(&'static str, &'static str),
    /// A JSON document at paths that begin so is another one.
    Edits(&'static str, fn(&mut Value)),
    /// Answers at this path are late.
    Late(&'static str, Duration),
    /// Larger bodies are refused, in bytes.
    Limits(usize),
    /// Answers are collected before they are passed on.
    Buffers,
    /// Its clock says this.
    Dated(&'static str),
}

/// An answer of the front's own.
#[derive(Clone)]
pub struct Own {
    pub method: Option<Method>,
    pub path: &'static str,
    pub agents: &'static [&'static str],
    pub containing: &'static str,
    pub status: u16,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
}

impl Default for Own {
    fn default() -> Self {
        let (path, containing, body) = ("/", "", "");
        Self { method: None, path, agents: &[], containing, status: 200, headers: &[], body }
    }
}

/// The front; it ends with this value.
pub struct Front {
    pub port: u16,
    task: JoinHandle<()>,
}

impl Front {
    /// In front of a gateway on this machine; without certificates it speaks plain http.
    pub async fn start(gateway: u16, shown: Option<Shown>, mischief: Vec<Mischief>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (acceptor, mischief) = (shown.map(acceptor), Arc::new(mischief));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, mischief) = (acceptor.clone(), mischief.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return serve(stream, gateway, mischief).await };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, gateway, mischief).await;
                    }
                });
            }
        });
        Self { port, task }
    }

    /// Listens no more.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(shown: Shown) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(shown.chain, shown.key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    gateway: u16,
    mischief: Arc<Vec<Mischief>>,
) {
    let service = service_fn(move |request| answer(request, gateway, mischief.clone()));
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    gateway: u16,
    all: Arc<Vec<Mischief>>,
) -> Result<Response<Body>, hyper::Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let host = head.headers.get(header::HOST).map(|host| host.to_str().unwrap().to_owned());
    let mut host = host.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap();
    let body = body.collect().await?.to_bytes();
    let agent =
        head.headers.get(header::USER_AGENT).map(|agent| agent.to_str().unwrap().to_owned()).unwrap_or_default();
    for mischief in all.iter() {
        match mischief {
            Mischief::Answers(own) if own.is_for(&head.method, &path, &agent, &body) => return Ok(own.response()),
            Mischief::Limits(most) if body.len() > *most => {
                return Ok(Own { status: 413, ..Own::default() }.response());
            }
            Mischief::Host(other) => host = (*other).to_owned(),
            Mischief::Alias(from, to) if host == *from => host = to.clone(),
            Mischief::Late(late, by) if path.starts_with(late) => tokio::time::sleep(*by).await,
            _ => {}
        }
    }
    head.headers.insert(header::HOST, HeaderValue::from_str(&host).unwrap());
    head.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let mut passed = Request::builder().method(head.method).uri(head.uri.path_and_query().unwrap().as_str());
    *passed.headers_mut().unwrap() = head.headers;
    let response = pass(passed.body(Full::new(body)).unwrap(), gateway).await;
    spoiled(response, &path, &all).await
}

/// What the gateway says; it may hang up on a body that it does not want.
async fn pass(request: Request<Full<Bytes>>, gateway: u16) -> Response<Body> {
    let stream = TcpStream::connect(("127.0.0.1", gateway)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    match sender.send_request(request).await {
        Ok(response) => response.map(BodyExt::boxed_unsync),
        Err(_) => Own { status: 502, ..Own::default() }.response(),
    }
}

async fn spoiled(response: Response<Body>, path: &str, all: &[Mischief]) -> Result<Response<Body>, hyper::Error> {
    let (mut head, mut body) = response.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    for mischief in all {
        match mischief {
            Mischief::Strips(name) => drop(head.headers.remove(name)),
            Mischief::Dated(date) => drop(head.headers.insert(header::DATE, HeaderValue::from_static(date))),
            Mischief::Buffers => body = whole(body.collect().await?.to_bytes()),
            Mischief::Replaces(from, to) if path != "/doctor/stream" => {
                let text = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap().replace(from, to);
                for value in head.headers.values_mut() {
                    let other = value.to_str().unwrap_or_default().replace(from, to);
                    *value = HeaderValue::from_str(&other).unwrap();
                }
                head.headers.remove(header::CONTENT_LENGTH);
                body = whole(text.into());
            }
            Mischief::Edits(at, edit) if path.starts_with(at) => {
                let bytes = body.collect().await?.to_bytes();
                let mut document: Value = serde_json::from_slice(&bytes).unwrap();
                edit(&mut document);
                head.headers.remove(header::CONTENT_LENGTH);
                body = whole(document.to_string().into());
            }
            _ => {}
        }
    }
    Ok(Response::from_parts(head, body))
}

impl Own {
    fn is_for(&self, method: &Method, path: &str, agent: &str, body: &[u8]) -> bool {
        self.method.as_ref().is_none_or(|own| own == method)
            && path.starts_with(self.path)
            && (self.agents.is_empty() || self.agents.iter().any(|one| agent.contains(one)))
            && String::from_utf8_lossy(body).contains(self.containing)
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).unwrap());
        for (name, value) in self.headers {
            response = response.header(*name, *value);
        }
        response.body(whole(Bytes::from_static(self.body.as_bytes()))).unwrap()
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
