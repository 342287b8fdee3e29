//! Hearing of changes as they are committed (`LISTEN`).

use super::{ACQUIRE, limited};
use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What [`Listener`] listens on.
pub(super) const CHANNEL: &str = "portcullis_changes";

/// After so long a silence the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(2);

/// How long it may take to say so.
const ANSWER: Duration = Duration::from_secs(2);

/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(200);

/// What a [`Listener`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something was written to the journal, or may have been while nobody listened: read it.
    Changed,
    /// The server cannot be heard. What happens there is unknown until the next [`Heard::Changed`].
    Lost,
}

/// Hears of every entry of the journal of changes.
pub struct Listener {
    options: PgConnectOptions,
    connected: Option<PgListener>,
}

impl Listener {
    pub(super) async fn connect(options: PgConnectOptions) -> sqlx::Result<Self> {
        let connected = Some(connect(&options).await?);
        Ok(Self { options, connected })
    }

    /// Waits for something to happen. After [`Heard::Lost`] the next call tries to connect again; when that works it says
    /// [`Heard::Changed`], and nothing that is committed from then on is missed. A server that falls silent is noticed
    /// within four seconds. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Heard {
        let Some(connected) = &mut self.connected else {
            sleep(PAUSE).await;
            self.connected = connect(&self.options).await.ok();
            return if self.connected.is_some() { Heard::Changed } else { Heard::Lost };
        };
        loop {
            match timeout(SILENCE, connected.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    while connected.next_buffered().is_some() {}
                    return Heard::Changed;
                }
                Ok(_) => break,
                Err(_) => match timeout(ANSWER, connected.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    _ => break,
                },
            }
        }
        self.connected = None;
        Heard::Lost
    }
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).max_lifetime(None).idle_timeout(None);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options.clone())).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    limited(listener.listen(CHANNEL)).await?;
    Ok(listener)
}
