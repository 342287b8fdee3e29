//! One client, whatever it speaks.

use super::channel::Multiplexer;
use super::line::Line;
use super::streamable::Streamable;
use super::{Call, CallError, Events, Filter, Listening, Resumption, Server};
use crate::error::Fault;
use crate::life::Life;
use crate::mcp::rpc::{Id, Notification, RpcError};
use crate::stdio::{Attached, Process};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// One MCP client: one session at one upstream, or none where the upstream needs none.
pub struct Client {
    link: Link,
    life: Arc<Life>,
    closed: AtomicBool,
    used: Mutex<Instant>,
}

/// How the upstream is reached.
pub(super) enum Link {
    /// A request at a time.
    Http(Arc<Streamable>),
    /// A channel of its own.
    Channel(Arc<Line>),
    /// The channel of a program, which may end when nobody uses it.
    Program { line: Arc<Line>, process: Process<Multiplexer> },
}

impl Client {
    pub(super) fn new(link: Link, life: Arc<Life>) -> Self {
        Self { link, life, closed: AtomicBool::new(false), used: Mutex::new(Instant::now()) }
    }

    /// What the server said about itself.
    pub fn server(&self) -> Arc<Server> {
        match &self.link {
            Link::Http(client) => client.session.load().server.clone(),
            Link::Channel(line) | Link::Program { line, .. } => line.server(),
        }
    }

    /// What to keep for another process; `None` where a session cannot be gone on with.
    pub fn resumption(&self) -> Option<Resumption> {
        match &self.link {
            Link::Http(client) => client.resumption(),
            Link::Channel(_) | Link::Program { .. } => None,
        }
    }

    /// Sends a request and waits for its result. What the server sends meanwhile, and because of it, goes to `events`. Whoever
    /// drops the future cancels the request.
    ///
    /// # Errors
    /// When there is no result.
    pub async fn request(&self, call: Call, events: &Events) -> Result<Value, CallError> {
        let _used = self.use_process()?;
        let outcome = match &self.link {
            Link::Http(client) => client.request(call, events).await,
            Link::Channel(line) | Link::Program { line, .. } => line.request(call, events).await,
        };
        self.touch();
        outcome
    }

    /// Sends a notification; nothing goes to a server of the modern era, where clients have none to send.
    ///
    /// # Errors
    /// When it did not get there.
    pub async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        let _used = self.use_process()?;
        match &self.link {
            Link::Http(client) => client.notify(notification).await,
            Link::Channel(line) | Link::Program { line, .. } => line.notify(notification).await,
        }
    }

    /// Answers a request of the server's.
    ///
    /// # Errors
    /// When it did not get there, or the server did not ask this client.
    pub async fn respond(&self, id: Id, outcome: Result<Value, RpcError>) -> Result<(), CallError> {
        let _used = self.use_process()?;
        match &self.link {
            Link::Http(client) => client.respond(id, outcome).await,
            Link::Channel(line) | Link::Program { line, .. } => line.respond(id, outcome).await,
        }
    }

    /// Hears what the server says unasked, as long as the result is kept. Several may listen; requests of the server go to one.
    /// What is not read in time is lost. When the upstream cannot be reached any more, the other end of `events` closes.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses a subscription.
    pub async fn listen(&self, filter: Filter, events: Events) -> Result<Listening, CallError> {
        let used = self.use_process()?;
        let listening = match &self.link {
            Link::Http(client) => client.listen(filter, events).await,
            Link::Channel(line) | Link::Program { line, .. } => line.listen(filter, events).await,
        };
        listening.map(|listening| Listening { _used: used, ..listening })
    }

    /// Ends the session at the upstream. The client is of no more use.
    pub async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Link::Http(client) = &self.link {
            client.close().await;
        }
    }

    /// Somebody uses it now. A program is kept running by that.
    fn use_process(&self) -> Result<Option<Attached<Multiplexer>>, CallError> {
        self.touch();
        let Link::Program { line, process } = &self.link else { return Ok(None) };
        let ended = || Fault::upstream("the upstream's program has ended", "a client outlived its process").into();
        let attached = process.attach();
        attached.map(Some).ok_or_else(|| line.channel().board.ended().unwrap_or_else(ended))
    }

    /// Whether requests may still go out.
    pub(super) fn is_usable(&self) -> bool {
        let channel_ended = match &self.link {
            Link::Http(client) => client.is_over(),
            Link::Channel(line) => line.channel().board.ended().is_some(),
            Link::Program { line, process } => line.channel().board.ended().is_some() || process.attach().is_none(),
        };
        !channel_ended && !self.closed.load(Ordering::Acquire) && !self.life.has_ended()
    }

    /// Whether a request is under way, or somebody listens.
    pub(super) fn is_busy(&self) -> bool {
        match &self.link {
            Link::Http(client) => client.board.is_busy(client.port),
            Link::Channel(line) | Link::Program { line, .. } => line.is_busy(),
        }
    }

    pub(super) fn used(&self) -> Instant {
        *self.used.lock()
    }

    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }
}
