//! Bringing memory up to what other processes (the command line, other nodes) wrote into the database, and saying how far
//! memory may be trusted meanwhile.

use super::App;
use crate::error::Fault;
use crate::store::{Change, Heard, JournalPosition, Listener, News};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, sleep, timeout};

/// How soon a change that another process wrote is noticed where nobody tells. What is revoked must have ended within a second,
/// and a stream may be given half of it to finish an event.
const EVERY: Duration = Duration::from_millis(250);

/// Changes that come so soon after each other are read together.
const BREATH: Duration = Duration::from_millis(5);

/// How long reading may last; the store itself is less patient.
const READING: Duration = Duration::from_secs(5);

/// How long taking over what was read may last. A database that does not answer must not hold us longer than it is silent.
const TAKING_OVER: Duration = Duration::from_secs(30);

/// For how long what was read is good.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// After the beginning of the last complete reading, requests that depend on memory wait, and then are refused for now.
    pub(super) requests: Duration,
    /// After so much more, open streams end. Long enough for a database to be restarted or replaced: a stream carries what was
    /// allowed when it began, and everything that its client sends is a request.
    pub(super) streams: Duration,
}

impl Bounds {
    /// A database on the network. Nobody gets in with what was revoked a second ago.
    pub(super) const NETWORK: Self = Self { requests: Duration::from_secs(1), streams: Duration::from_secs(60) };
    /// A file, which cannot be cut off: only a disk that hangs, or a machine that does nothing at all, makes us late.
    pub(super) const FILE: Self = Self { requests: Duration::from_secs(5), ..Self::NETWORK };
}

/// How far the journal of changes was followed.
pub(super) struct Follower {
    position: JournalPosition,
    /// What was read and is not taken over yet, and whether that failed before. One does not keep others waiting: each is about
    /// something else, or says only that something must be read again.
    owed: HashMap<Change, bool>,
    /// Since when the journal cannot be read.
    cut_off_since: Option<Instant>,
    /// The journal does not tell everything that happened.
    pub(super) everything: bool,
    bounds: Bounds,
}

impl Follower {
    /// Follows from this position on.
    pub(super) fn after(position: JournalPosition, bounds: Bounds) -> Self {
        Self { position, owed: HashMap::new(), cut_off_since: None, everything: false, bounds }
    }

    /// Follows as long as the process lives, as often as `listener` hears something and four times a second in any case.
    pub(super) async fn run(mut self, app: Arc<App>, mut listener: Option<Listener>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = heard(&mut listener) => {}
            }
            self.round(&app).await;
            sleep(BREATH).await;
        }
    }

    /// Reads what is new and takes it over. Memory is current as of the moment before.
    pub(super) async fn round(&mut self, app: &App) {
        let read_at = Instant::now();
        match self.catch_up(app).await {
            Ok(true) => {
                app.tokens.freshness().renew(read_at, self.bounds.requests);
                if let Some(since) = self.cut_off_since.take() {
                    tracing::info!(after = ?since.elapsed(), "the journal of changes is followed again");
                }
            }
            Ok(false) => {}
            Err(fault) => self.cut_off(app, read_at, &fault),
        }
    }

    /// Whether nothing that was read has yet to be taken over, apart from what cannot be at all.
    async fn catch_up(&mut self, app: &App) -> Result<bool, Fault> {
        if !self.everything {
            let begun = Instant::now();
            let news = timeout(READING, app.store.news_since(&self.position)).await;
            app.metrics.store_read(begun.elapsed(), matches!(news, Ok(Ok(_))));
            match news.map_err(|_| silent())?? {
                News::Changes(changes, position) => {
                    for change in changes {
                        match change {
                            Some(change) => _ = self.owed.entry(change).or_insert(false),
                            None => {
                                tracing::warn!("a newer version changed something in the database: restart this one")
                            }
                        }
                    }
                    self.position = position;
                }
                News::Lost => self.everything = true,
            }
        }
        timeout(TAKING_OVER, async {
            if self.everything {
                self.begin_anew(app).await?;
            }
            Ok(self.pay(app).await)
        })
        .await
        .map_err(|_| silent())?
    }

    /// Takes over what is owed; whether nothing failed for the first time.
    async fn pay(&mut self, app: &App) -> bool {
        let mut in_order = true;
        for change in self.owed.keys().copied().collect::<Vec<_>>() {
            let Some(failed_before) = self.owed.get_mut(&change) else { continue };
            match app.follow(change).await {
                Ok(()) => {
                    if *failed_before {
                        tracing::info!(?change, "a change in the database was taken over at last");
                    }
                    self.owed.remove(&change);
                }
                Err(_) if *failed_before => {}
                Err(fault) => {
                    tracing::error!(%fault, ?change, "a change in the database is not taken over yet: trying again");
                    (*failed_before, in_order) = (true, false);
                }
            }
        }
        in_order
    }

    /// Reads everything again that memory depends on.
    async fn begin_anew(&mut self, app: &App) -> Result<(), Fault> {
        tracing::warn!("the journal of changes does not tell all that happened: everything is read again");
        let position = app.store.journal_position().await?;
        app.tokens.recall_revocations(&app.store).await?;
        app.revocations.catch_up_with_all().await?;
        self.owed.clear();
        self.owed.insert(Change::KeysChanged, false);
        self.owed.insert(Change::CertificatesChanged, false);
        (self.position, self.everything) = (position, false);
        Ok(())
    }

    fn cut_off(&mut self, app: &App, now: Instant, fault: &Fault) {
        let since = *self.cut_off_since.get_or_insert_with(|| {
            tracing::error!(%fault, "changes in the database cannot be followed: trying again");
            now
        });
        let freshness = app.tokens.freshness();
        // Another database may answer next, which does not know all that we do.
        self.everything |= since.elapsed() > self.bounds.requests;
        if freshness.overdue() > self.bounds.streams && app.lives.interrupt() {
            tracing::error!("changes in the database cannot be followed for long: open streams end");
        }
    }
}

/// What is lost is found out by reading.
async fn heard(listener: &mut Option<Listener>) {
    match listener {
        Some(listener) => match listener.changed().await {
            Heard::Changed | Heard::Lost => {}
        },
        None => std::future::pending().await,
    }
}

fn silent() -> Fault {
    Fault::gateway("the database does not answer")
}

impl App {
    /// Takes over one change. Doing it twice does no harm.
    async fn follow(&self, change: Change) -> Result<(), Fault> {
        match change {
            Change::KeysChanged => self.tokens.reload_keys().await,
            Change::CertificatesChanged => self.certificates.reload().await,
            change => self.revocations.follow(change).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::config::{Source, load};
    use crate::freshness::Outdated;
    use crate::ids::{GrantId, Random};
    use crate::jose::SigningAlgorithm;
    use crate::store::{Decision, Grant, SigningKey, Store, Upstream};
    use crate::tokens::Unverified;
    use std::collections::BTreeMap;

    async fn app(home: &tempfile::TempDir) -> App {
        let state = home.path().display().to_string();
        let source = Source { file: None, environment: BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]) };
        App::build(load(&source).unwrap(), &[], Clock::standing(), Random::default()).await.unwrap()
    }

    /// The end of a journal in which more has happened than in that of any other test.
    async fn elsewhere() -> JournalPosition {
        let store = Store::open("sqlite::memory:").await.unwrap();
        for _ in 0..20 {
            store.delete_signing_key("none").await.unwrap();
            store.put_upstream(&approved()).await.unwrap();
        }
        store.journal_position().await.unwrap()
    }

    fn approved() -> Upstream {
        Upstream {
            authority: "notes.example".to_owned(),
            decision: Decision::Approved,
            alias: Some("notes".to_owned()),
            name: None,
            decided_by: None,
            decided_at: Timestamp(0),
        }
    }

    #[tokio::test]
    async fn what_the_journal_does_not_tell_any_more_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let app = app(&home).await;
        let grant = known_grant(&app, GrantId::random(&Random::default())).await;
        let life = app.lives.of(grant);
        app.store.revoke_grant(grant, app.clock.now()).await.unwrap();
        app.store.put_upstream(&approved()).await.unwrap();

        let mut follower = Follower::after(elsewhere().await, Bounds::FILE);
        follower.round(&app).await;
        assert!(life.has_ended());
        assert_eq!(app.registry.all().len(), 1);
        assert_eq!(follower.position, app.store.journal_position().await.unwrap());
        assert!(app.tokens.freshness().is_current());
    }

    #[tokio::test]
    async fn a11_whoever_is_cut_off_trusts_memory_no_longer_and_ends_what_is_open_later() {
        let home = tempfile::tempdir().unwrap();
        let app = app(&home).await;
        let (now, grant) = (Duration::ZERO, known_grant(&app, GrantId::random(&Random::default())).await);
        let life = app.lives.of(grant);
        let mut follower = Follower::after(
            app.store.journal_position().await.unwrap(),
            Bounds { requests: now, streams: Bounds::NETWORK.streams },
        );
        app.tokens.freshness().renew(Instant::now(), now);
        app.store.close().await;
        follower.round(&app).await;
        assert_eq!(app.tokens.verify("").unwrap_err(), Unverified::Outdated(Outdated));
        assert!(!life.has_ended());
        assert!(follower.everything, "another database may come");

        follower.bounds.streams = now;
        follower.round(&app).await;
        assert!(life.has_ended());
        assert!(!app.lives.of(grant).has_ended(), "the grant itself goes on");
    }

    #[tokio::test]
    async fn what_cannot_be_taken_over_is_tried_again_and_keeps_nothing_waiting() {
        let home = tempfile::tempdir().unwrap();
        let app = app(&home).await;
        let (clock, random) = (app.clock.clone(), Random::default());
        let mut follower = Follower::after(app.store.journal_position().await.unwrap(), Bounds::FILE);
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

        follower.round(&app).await;
        assert_eq!(follower.owed.keys().collect::<Vec<_>>(), [&Change::KeysChanged]);
        assert!(app.lives.of(grant).has_ended());
        follower.round(&app).await;
        assert_eq!(follower.owed.keys().collect::<Vec<_>>(), [&Change::KeysChanged]);
        app.store.delete_signing_key("unreadable").await.unwrap();
        follower.round(&app).await;
        assert!(follower.owed.is_empty());
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
