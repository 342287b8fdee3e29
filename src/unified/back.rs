//! The way back to a client while its request is being worked on. What a client can be asked, and how, depends on its era; those
//! who ask need not know: a legacy client gets a request on the stream of its own request, a modern one an
//! `InputRequiredResult`, while the work waits for it to come back.

use crate::mcp::rpc::{Id, Members, Notification, RpcError};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// The way back of one request, or of a stream of events.
#[derive(Clone)]
pub struct Back {
    outgoing: mpsc::Sender<Outgoing>,
}

/// What goes to the client before the answer.
pub enum Outgoing {
    /// Progress, log messages, changes.
    Notification(Notification),
    /// A question.
    Ask {
        /// Who asks.
        asked: Asked,
        /// `elicitation/create`, `sampling/createMessage` or `roots/list`
        method: String,
        /// Its params.
        params: Members,
        /// Takes the answer.
        answer: oneshot::Sender<Result<Value, RpcError>>,
    },
}

/// Which request of which upstream a question is: enough for another process to hand the answer on.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The prefix of the upstream.
    pub member: Box<str>,
    /// The upstream's id; `None` when the question is ours, or was part of a result.
    pub id: Option<Id>,
}

impl Back {
    /// A way back, and its other end.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, receiver) = mpsc::channel(capacity);
        (Self { outgoing }, receiver)
    }

    /// Sends a notification; nothing happens when the client is gone.
    pub async fn notify(&self, notification: Notification) {
        // Whoever is gone need not know.
        drop(self.outgoing.send(Outgoing::Notification(notification)).await);
    }

    /// Asks the client.
    ///
    /// # Errors
    /// What the client answered, or that it is gone.
    pub async fn ask(&self, asked: Asked, method: String, params: Members) -> Result<Value, RpcError> {
        let gone = || RpcError::new(RpcError::INTERNAL_ERROR, "the client is gone");
        let (answer, answered) = oneshot::channel();
        let question = Outgoing::Ask { asked, method, params, answer };
        self.outgoing.send(question).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
