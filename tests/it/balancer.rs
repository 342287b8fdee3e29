//! A load balancer as bad as one can be for whoever counts on it: each request goes to another node than the one before.

use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens before there is any node: what people and clients see is its address.
pub struct Balancer {
    port: u16,
    turns: Arc<Turns>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Turns(Mutex<Vec<(Authority, usize)>>);

impl Balancer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let turns = Arc::new(Turns::default());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let serving = turns.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (turns, client) = (serving.clone(), client.clone());
                let service = service_fn(move |request| forward(request, turns.next(), client.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, turns, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends requests to the node at this port, too.
    pub fn add(&self, port: u16) {
        self.turns.0.lock().push((Authority::try_from(format!("127.0.0.1:{port}")).unwrap(), 0));
    }

    /// How many requests each node got.
    pub fn counts(&self) -> Vec<usize> {
        self.turns.0.lock().iter().map(|(_, count)| *count).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Turns {
    /// Whoever got the fewest requests, in turn.
    fn next(&self) -> Option<Authority> {
        let mut nodes = self.0.lock();
        let (node, count) = nodes.iter_mut().min_by_key(|(_, count)| *count)?;
        *count += 1;
        Some(node.clone())
    }
}

async fn forward(
    mut request: Request<Incoming>,
    node: Option<Authority>,
    client: Client<HttpConnector, Incoming>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (Some(Scheme::HTTP), Some(node.ok_or("there is no node")?));
    *request.uri_mut() = Uri::from_parts(parts)?;
    let response = client.request(request).await?;
    assert_ne!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    Ok(response)
}
