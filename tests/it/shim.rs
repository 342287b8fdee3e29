//! A small reverse proxy for programs that cannot be told a bearer token: it adds one to every request, and nothing else
//! but the hostname in place of its own.

use crate::gateway::Gateway;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy; it ends with this value, and open streams end by themselves.
pub struct Shim {
    pub port: u16,
    task: JoinHandle<()>,
}

/// What it does to a request.
struct Errand {
    /// Where it listens: what the callers say in `Host` when they mean no harm.
    own: String,
    port: u16,
    bearer: HeaderValue,
    /// What stands in `Host` instead of `own`.
    host: HeaderValue,
}

impl Shim {
    /// In front of an upstream's MCP hostname.
    pub async fn through(gateway: &Gateway, authority: &str) -> Self {
        let (token, _) = gateway.token_for(authority).await;
        Self::start(gateway.port(), &token, Some(gateway.host_of(authority))).await
    }

    /// In front of an MCP URL of the gateway, for a bearer of this token.
    pub async fn with_token(gateway: &Gateway, url: &str, token: &str) -> Self {
        let host = url::Url::parse(url).unwrap().authority().to_owned();
        Self::start(gateway.port(), token, Some(host)).await
    }

    /// In front of the upstream itself, so that only the gateway is missing.
    pub async fn direct(port: u16) -> Self {
        Self::start(port, "unused", None).await
    }

    async fn start(to: u16, token: &str, host: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = format!("localhost:{port}");
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let host = HeaderValue::from_str(&host.unwrap_or_else(|| own.clone())).unwrap();
        let errand = Arc::new(Errand { own, port: to, bearer, host });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let errand = errand.clone();
                let service = service_fn(move |request| forward(request, errand.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { port, task }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut request: Request<Incoming>, errand: Arc<Errand>) -> hyper::Result<Response<Incoming>> {
    let fields = request.headers_mut();
    if fields.get(header::HOST).is_some_and(|host| host == errand.own.as_str()) {
        fields.insert(header::HOST, errand.host.clone());
    }
    fields.insert(header::AUTHORIZATION, errand.bearer.clone());
    let caller = hyper::upgrade::on(&mut request);
    let stream = TcpStream::connect(("127.0.0.1", errand.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(caller), Ok(server)) = tokio::join!(caller, server) {
                let _ = copy_bidirectional(&mut TokioIo::new(caller), &mut TokioIo::new(server)).await;
            }
        });
    }
    Ok(response)
}
