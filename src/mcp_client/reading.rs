//! What comes on a channel, until it ends or its server hangs.

use super::CallError;
use super::channel::Back;
use super::messages::parse;
use super::switchboard::Switchboard;
use crate::error::Fault;
use crate::mcp::rpc::{Id, Members, Request, Rpc};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// How long a server may say nothing at all after a request was given up, before it is asked whether it is there.
const DOUBT: Duration = Duration::from_secs(5);
/// How long it has to say anything then.
const SILENCE: Duration = Duration::from_secs(15);

/// What reads a channel.
pub(super) struct Reading {
    pub(super) board: Arc<Switchboard>,
    pub(super) back: Back,
    /// A request was given up before it was answered.
    pub(super) doubts: Arc<Notify>,
}

impl Reading {
    /// Until its end, or until the server has been silent for too long, and then why. Any message is an answer, an error too.
    pub(super) async fn to_the_end(&self, incoming: &mut mpsc::Receiver<Bytes>) -> Option<CallError> {
        let mut trust = Trust::Full;
        loop {
            tokio::select! { biased;
                received = incoming.recv() => {
                    trust = Trust::Full;
                    self.take(&received?);
                }
                () = trust.is_used_up() => match trust {
                    Trust::Asked { .. } => return Some(hangs()),
                    Trust::Full | Trust::Doubted { .. } => {
                        let (id, params) = (Id::from(self.board.number()), Members::new());
                        self.back.send(Rpc::Request(Request { id, method: "ping".to_owned(), params }));
                        trust = Trust::Asked { until: Instant::now() + SILENCE };
                    }
                },
                () = self.doubts.notified() => {
                    if let Trust::Full = trust {
                        trust = Trust::Doubted { until: Instant::now() + DOUBT };
                    }
                }
            }
        }
    }

    fn take(&self, bytes: &Bytes) {
        let Ok(messages) = parse(bytes) else {
            tracing::debug!("an upstream sent what is no message");
            return;
        };
        for reply in messages.into_iter().filter_map(|message| self.board.take(message)) {
            self.back.send(reply);
        }
    }
}

/// Whether a server is taken to be there.
enum Trust {
    Full,
    Doubted { until: Instant },
    Asked { until: Instant },
}

impl Trust {
    async fn is_used_up(&self) {
        match self {
            Trust::Full => std::future::pending().await,
            Trust::Doubted { until } | Trust::Asked { until } => sleep_until(*until).await,
        }
    }
}

fn hangs() -> CallError {
    let public = format!("it has said nothing for {} seconds and was let go", (DOUBT + SILENCE).as_secs());
    tracing::warn!("an MCP server hangs: {public}");
    Fault::upstream(public, "it hangs").into()
}
