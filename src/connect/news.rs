//! Whose upstreams may have changed, for those who keep lists for people.

use super::Connections;
use crate::ids::UserId;
use parking_lot::RwLock;
use tokio::sync::broadcast;

/// How far a listener may be behind.
const KEPT: usize = 1024;

/// Tells everybody who listens; costs next to nothing while nobody does.
pub(super) struct News {
    sender: broadcast::Sender<UserId>,
    first: RwLock<Vec<Listener>>,
}

type Listener = Box<dyn Fn(UserId) + Send + Sync>;

impl News {
    pub(super) fn new() -> Self {
        Self { sender: broadcast::Sender::new(KEPT), first: RwLock::default() }
    }

    pub(super) fn tell(&self, user: UserId) {
        self.first.read().iter().for_each(|listener| listener(user));
        // An error means that nobody listens.
        let _ = self.sender.send(user);
    }
}

impl Connections {
    /// People who have connected something, lost a connection, or selected something else for `/mcp`, in whatever process,
    /// within moments of it. A listener that lags behind has to suppose everybody. That somebody may use an upstream or not
    /// is told by the registry's generation.
    pub fn news(&self) -> broadcast::Receiver<UserId> {
        self.news.sender.subscribe()
    }

    /// Calls `listener` with the same news, before anybody else hears of it and before whoever caused it goes on: for memory that must
    /// not be older than what a person has just done. It must not wait.
    pub fn on_news(&self, listener: impl Fn(UserId) + Send + Sync + 'static) {
        self.news.first.write().push(Box::new(listener));
    }

    /// A person selected something else ([`crate::store::Change::SelectionChanged`]), or gave a value of their own.
    pub fn lists_changed(&self, user: UserId) {
        self.news.tell(user);
    }
}
