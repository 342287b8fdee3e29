//! Bringing memory up to what other processes (the command line, other nodes) wrote into the database.

use super::App;
use crate::error::Fault;
use crate::store::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How soon a change that another process wrote is noticed. What is revoked must have ended within a second,
/// and a stream may be given half of it to finish an event.
const EVERY: Duration = Duration::from_millis(250);

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
        match app.store.changes_after(self.known).await {
            Ok(changes) => {
                for (number, change) in changes {
                    self.known = number;
                    self.take_over(app, number, change).await;
                }
            }
            Err(error) => tracing::error!(%error, "changes in the database cannot be followed: trying again"),
        }
    }

    async fn take_over(&mut self, app: &App, number: i64, change: Option<Change>) {
        let Some(change) = change else {
            return tracing::warn!(number, "a newer version changed something in the database: restart this one");
        };
        let Err(fault) = app.follow(change).await else { return };
        tracing::error!(%fault, ?change, "a change in the database is not taken over yet: trying again");
        if !self.owed.contains(&change) {
            self.owed.push(change);
        }
    }
}

impl App {
    /// Takes over one change. Doing it twice does no harm.
    async fn follow(&self, change: Change) -> Result<(), Fault> {
        match change {
            Change::KeysChanged => self.tokens.reload_keys().await,
            change => self.revocations.follow(change).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Source, load};
    use crate::ids::{GrantId, Random};
    use crate::jose::SigningAlgorithm;
    use crate::store::{Grant, SigningKey};
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn what_cannot_be_taken_over_is_tried_again_and_keeps_nothing_waiting() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().display().to_string();
        let source = Source { file: None, environment: BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]) };
        let (clock, random) = (Clock::system(), Random::default());
        let app = App::build(load(&source).unwrap(), &[], clock.clone(), random.clone()).await.unwrap();
        let mut follower = Follower::after(app.known_change);
        let unreadable = SigningKey {
            kid: "unreadable".to_owned(),
            algorithm: SigningAlgorithm::Es256,
            sealed: Vec::new(),
            created_at: clock.now(),
            active_from: clock.now(),
            token_ttl: 0,
        };
        let last = app.store.signing_keys().await.unwrap().pop().unwrap();
        app.store.append_signing_key(&unreadable, Some(&last.kid)).await.unwrap();
        let grant = known_grant(&app, GrantId::random(&random)).await;
        app.store.revoke_grant(grant, clock.now()).await.unwrap();

        follower.catch_up(&app).await;
        assert_eq!(follower.owed, [Change::KeysChanged]);
        assert!(app.lives.of(grant).has_ended());
        follower.catch_up(&app).await;
        assert_eq!(follower.owed, [Change::KeysChanged]);
        app.store.delete_signing_key("unreadable").await.unwrap();
        follower.catch_up(&app).await;
        assert_eq!(follower.owed, []);
    }

    async fn known_grant(app: &App, id: GrantId) -> GrantId {
        let now = app.clock.now();
        let grant = Grant {
            id,
            user: crate::ids::UserId::random(&Random::default()),
            client_id: String::new(),
            client_name: String::new(),
            realm: String::new(),
            resource: String::new(),
            scope: String::new(),
            created_at: now,
            revoked_at: None,
        };
        app.store.insert_grant(&grant, None).await.unwrap();
        id
    }
}
