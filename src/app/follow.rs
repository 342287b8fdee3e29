//! Bringing memory up to what other processes (the command line, other nodes) wrote into the database.

use super::App;
use crate::error::Fault;
use crate::store::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How soon a change that another process wrote is noticed. What is revoked must have ended within a second.
const EVERY: Duration = Duration::from_millis(500);

/// How far the journal of changes was followed.
pub(super) struct Follower {
    /// The newest change that was read.
    known: i64,
    /// Those that could not be taken over yet. They do not keep later ones waiting: each is about something else, or says
    /// only that something must be read again.
    owed: Vec<Change>,
}

impl Follower {
    /// Follows from the change of this number on.
    pub(super) fn after(known: i64) -> Self {
        Self { known, owed: Vec::new() }
    }

    /// Follows as long as the process lives.
    pub(super) async fn run(mut self, app: Arc<App>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.catch_up(&app).await;
        }
    }

    async fn catch_up(&mut self, app: &App) {
        for change in std::mem::take(&mut self.owed) {
            match app.follow(change).await {
                Ok(()) => tracing::info!(?change, "a change in the database was taken over at last"),
                Err(_) => self.owed.push(change),
            }
        }
        let changes = match app.store.changes_after(self.known).await {
            Ok(changes) => changes,
            Err(error) => return tracing::error!(%error, "changes in the database cannot be followed: trying again"),
        };
        for (number, change) in changes {
            self.known = number;
            let Some(change) = change else {
                tracing::warn!(
                    number,
                    "a newer version of portcullis changed something in the database: restart this one"
                );
                continue;
            };
            if let Err(fault) = app.follow(change).await {
                tracing::error!(%fault, ?change, "a change in the database is not taken over yet: trying again");
                if !self.owed.contains(&change) {
                    self.owed.push(change);
                }
            }
        }
    }
}

impl App {
    /// Takes over one change. Doing it twice does no harm.
    async fn follow(&self, change: Change) -> Result<(), Fault> {
        match change {
            Change::KeysChanged => self.keys.reload().await,
            change => self.revocations.follow(change).await,
        }
    }
}
