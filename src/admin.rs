//! The admin listener: metrics and probes, on loopback unless configured otherwise (DESIGN 1.3).

use crate::app::App;
use crate::error::Fault;
use crate::telemetry::CONTENT_TYPE;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the database may take to show that it is there.
const ANSWER: Duration = Duration::from_secs(1);

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

/// Ready when the database answers and what others change in it is followed: a node that is cut off is to be left out.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    match timeout(ANSWER, app.store.latest_change()).await {
        Ok(Ok(_)) if app.tokens.freshness().is_current() => (StatusCode::OK, "ready\n"),
        Ok(Ok(_)) => (StatusCode::SERVICE_UNAVAILABLE, "changes in the database are not followed\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Source, load};
    use crate::ids::Random;
    use std::collections::BTreeMap;
    use std::time::Instant;

    #[tokio::test]
    async fn a_node_is_ready_as_long_as_it_follows_the_database() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().display().to_string();
        let source = Source { file: None, environment: BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]) };
        let app = App::build(load(&source).unwrap(), &[], Clock::standing(), Random::default()).await.unwrap();
        let app = Arc::new(app);
        let says = async || ready(State(app.clone())).await;
        assert_eq!(says().await, (StatusCode::OK, "ready\n"));
        app.tokens.freshness().renew(Instant::now(), Duration::ZERO);
        assert_eq!(says().await, (StatusCode::SERVICE_UNAVAILABLE, "changes in the database are not followed\n"));
        app.store.close().await;
        assert_eq!(says().await, (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"));
    }
}
