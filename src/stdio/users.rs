//! Who uses a process at this moment: a number, and whether it is too late to become one of them.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The users of one process.
pub(super) struct Users(watch::Sender<State>);

#[derive(Clone, Copy)]
enum State {
    Used {
        by: usize,
    },
    Unused {
        since: Instant,
    },
    /// It ends.
    Closed,
}

impl Users {
    /// One, who has started it.
    pub(super) fn one() -> Self {
        Self(watch::Sender::new(State::Used { by: 1 }))
    }

    /// Whether there is one more now; not for a process that ends.
    pub(super) fn join(&self) -> bool {
        self.0.send_if_modified(|state| {
            let by = match state {
                State::Used { by } => *by + 1,
                State::Unused { .. } => 1,
                State::Closed => return false,
            };
            *state = State::Used { by };
            true
        })
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.0.send_if_modified(|state| {
            let State::Used { by } = state else { return false };
            *state = match *by {
                0 | 1 => State::Unused { since: Instant::now() },
                by => State::Used { by: by - 1 },
            };
            true
        });
    }

    /// Since when nobody uses it.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            State::Unused { since } => Some(since),
            State::Used { .. } | State::Closed => None,
        }
    }

    /// From now on nobody may join.
    pub(super) fn close(&self) {
        self.0.send_replace(State::Closed);
    }

    /// Waits until nobody has used it for that long, and closes it then.
    pub(super) async fn idle(&self, patience: Option<Duration>) {
        let Some(patience) = patience else { return std::future::pending().await };
        let mut changes = self.0.subscribe();
        loop {
            let unused = changes.wait_for(|state| matches!(state, State::Unused { .. })).await.is_ok();
            if !unused {
                return std::future::pending().await;
            }
            tokio::select! {
                () = sleep(patience) => {
                    if self.close_unused() {
                        return;
                    }
                }
                _ = changes.wait_for(|state| !matches!(state, State::Unused { .. })) => {}
            }
        }
    }

    /// Closes it unless somebody uses it; whether it is closed.
    pub(super) fn close_unused(&self) -> bool {
        let mut closed = false;
        self.0.send_if_modified(|state| {
            closed = !matches!(state, State::Used { .. });
            if closed {
                *state = State::Closed;
            }
            closed
        });
        closed
    }
}
