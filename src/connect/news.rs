//! Whose upstreams may have changed, for those who keep lists for people.

use super::Connections;
use crate::ids::UserId;
use tokio::sync::broadcast;

/// How far a listener may be behind.
const KEPT: usize = 1024;

/// Tells everybody who listens; costs next to nothing while nobody does.
pub(super) struct News(broadcast::Sender<UserId>);

impl News {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }

    pub(super) fn tell(&self, user: UserId) {
        // An error means that nobody listens.
        let _ = self.0.send(user);
    }
}

impl Connections {
    /// People who have connected something, lost a connection, or selected something else for `/mcp`, in whatever process,
    /// within moments of it. A listener that lags behind has to suppose everybody. That somebody may use an upstream or not
    /// is told by the registry's generation.
    pub fn news(&self) -> broadcast::Receiver<UserId> {
        self.news.0.subscribe()
    }

    /// A person selected something else ([`crate::store::Change::SelectionChanged`]).
    pub fn selection_changed(&self, user: UserId) {
        self.news.tell(user);
    }
}
