//! The admin listener: metrics and probes, on loopback unless configured otherwise (DESIGN 1.3).

use crate::app::App;
use crate::error::Fault;
use crate::telemetry::CONTENT_TYPE;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Starts to listen.
///
/// # Errors
/// When the address is in use or not allowed, naming the setting.
pub(crate) async fn start(address: SocketAddr, app: Arc<App>) -> Result<JoinHandle<()>, Fault> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Fault::gateway(format!(
            "cannot listen on {address}: {error}; choose another address in server.admin_listen, or \"\" for none"
        ))
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "admin listening");
    }
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(app);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the admin listener failed");
        }
    }))
}

async fn metrics(State(app): State<Arc<App>>) -> ([(header::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.encode())
}

/// Ready when the database answers.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    match app.store.latest_change().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
