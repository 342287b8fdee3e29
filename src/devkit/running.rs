//! A server in this process: where it listens, and how it ends.

use axum::Router;
use futures_util::{Stream, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long open connections may take to end after a request to stop.
const GRACE: Duration = Duration::from_secs(2);

/// A listening server. It stops when this is dropped.
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Listens on `address` (port 0: the system chooses) and serves what `router` makes of the chosen address and the
    /// signal to stop.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, router: impl FnOnce(SocketAddr, Stop) -> Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let service = router(address, Stop(stopped.clone()));
        let task = tokio::spawn(async move {
            let signal = async move { Stop(stopped).requested().await };
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(signal).await {
                tracing::warn!(%error, "a devkit server ended");
            }
        });
        Ok(Self { address, stop, task: Some(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, ends open streams and waits until all connections are closed, for two seconds at most.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(GRACE, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Tells handlers and streams that their server is to end. Cloning listens to the same signal.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns when the server is to end.
    pub async fn requested(mut self) {
        // An error means that the handle is gone, which is the same request.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }

    /// `stream` until the server is to end.
    pub(crate) fn bound<S: Stream>(self, stream: S) -> impl Stream<Item = S::Item> {
        stream.take_until(self.requested())
    }
}
