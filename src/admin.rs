//! The admin listener: metrics and probes, on loopback unless configured otherwise (DESIGN 1.3).

use crate::app::App;
use crate::error::Fault;
use crate::telemetry::CONTENT_TYPE;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Serves on a listening socket until `stopping`.
///
/// # Errors
/// When the system does not let us.
pub(crate) fn start(
    listener: std::net::TcpListener,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Fault> {
    let listener = TcpListener::from_std(listener).map_err(Fault::gateway)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "admin listening");
    }
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(app);
    Ok(tokio::spawn(async move {
        let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
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
