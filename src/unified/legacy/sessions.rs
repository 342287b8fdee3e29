//! All sessions: rows of the database, so that any process goes on with them, and in memory those that are in use here.

use super::session::{Document, Moment, Session};
use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::ids::{Digest, Random};
use crate::store::{McpSession, RoomForSessions, Store};
use crate::unified::door::Guest;
use crate::unified::wire::Out;
use crate::vault::{Place, Vault};
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A session that nobody has used for so long is over.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// One that this process has not seen for so long is only a row.
const FORGOTTEN: Duration = Duration::from_secs(1800);
/// How old what is known of a row may be: so long may a session go on here that was ended elsewhere.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How exactly the row says when the session was used.
const NOTE_EVERY: Duration = Duration::from_secs(60);
/// How many sessions of all people there may be.
const OF_ALL: u32 = 200_000;
/// How many of a person's may be streams (MCP 2024-11-05): those are in memory only.
const STREAMS_OF_ONE: usize = 64;

/// All sessions.
pub(in crate::unified) struct Sessions {
    store: Store,
    vault: Vault,
    clock: Clock,
    random: Random,
    known: Mutex<HashMap<Digest, Arc<Session>>>,
}

impl Sessions {
    pub(in crate::unified) fn new(store: Store, vault: Vault, clock: Clock, random: Random) -> Self {
        Self { store, vault, clock, random, known: Mutex::default() }
    }

    /// A new session and its id, which nobody knows yet.
    pub(super) fn make(&self, guest: &Guest, document: Document) -> (String, Arc<Session>) {
        self.fresh(guest, document, None)
    }

    /// The same for one that is a stream; `None` when the person has too many of them.
    pub(super) fn make_stream(&self, guest: &Guest, stream: mpsc::Sender<Out>) -> Option<(String, Arc<Session>)> {
        let (id, session) = self.fresh(guest, Document::default(), Some(stream));
        let mut known = self.known.lock();
        let streams = known.values().filter(|known| known.user == guest.user && known.stream.is_some());
        if streams.count() >= STREAMS_OF_ONE {
            return None;
        }
        known.insert(session.token, session.clone());
        Some((id, session))
    }

    /// Keeps a new session; `false` when there is no room for it.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn begin(&self, session: &Arc<Session>, of_one: u32) -> Result<bool, Fault> {
        let (sealed, now) = (self.seal(session)?, self.clock.now());
        let row = McpSession {
            token: session.token,
            user: session.user,
            client_id: session.client_id.to_string(),
            realm: session.place.to_string(),
            sealed,
            created_at: now,
            last_seen_at: now,
        };
        let begun = self.store.insert_mcp_session(&row, RoomForSessions { of_one, of_all: OF_ALL }).await?;
        if begun {
            *session.kept.lock() = Some(Digest::of(&row.sealed));
            // Its sessions at upstreams are those that it has begun itself.
            drop(session.resumed.set(()));
            self.known.lock().insert(session.token, session.clone());
        }
        Ok(begun)
    }

    /// The session of this id, if it is the guest's: somebody else's is one that does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn find(&self, guest: &Guest, id: &str) -> Result<Option<Arc<Session>>, Fault> {
        let token = Digest::of(id);
        let known = self.known.lock().get(&token).cloned();
        let session = match known {
            // A stream has no row.
            Some(session) if session.stream.is_some() => return Ok(None),
            Some(session) if !session.is_of(guest) => return Ok(None),
            Some(session) => session,
            None => match self.read(guest, token).await? {
                Some(session) => session,
                None => return Ok(None),
            },
        };
        if !self.is_alive(&session).await? {
            self.forget(&session);
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// A stream's session, if it is the guest's.
    pub(super) fn stream(&self, guest: &Guest, id: &str) -> Option<Arc<Session>> {
        let session = self.known.lock().get(&Digest::of(id)).cloned()?;
        session.seen.set(self.clock.now());
        (session.stream.is_some() && session.is_of(guest)).then_some(session)
    }

    /// Writes down what a session remembers now.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn save(&self, session: &Session) -> Result<(), Fault> {
        if session.stream.is_some() {
            return Ok(());
        }
        let (sealed, now) = (self.seal(session)?, self.clock.now());
        *session.kept.lock() = Some(Digest::of(&sealed));
        self.store.update_mcp_session(&session.token, &sealed, now).await?;
        session.noted.set(now);
        Ok(())
    }

    /// Ends a session. Those at upstreams are the caller's to end.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn end(&self, session: &Session) -> Result<(), Fault> {
        self.store.delete_mcp_session(&session.token).await?;
        self.forget(session);
        Ok(())
    }

    /// Forgets a session here: what is under way in it ends.
    pub(super) fn forget(&self, session: &Session) {
        self.known.lock().remove(&session.token);
        session.stop();
    }

    /// Ends what nobody has used for a day, and forgets what has not been used here lately.
    pub(in crate::unified) async fn sweep(&self) {
        let now = self.clock.now();
        if let Err(error) = self.store.sweep_mcp_sessions(now.before(IDLE)).await {
            tracing::error!(%error, "sessions that nobody uses could not be removed");
        }
        self.known.lock().retain(|_, session| session.is_busy() || now.since(session.seen.get()) < FORGOTTEN);
    }

    fn fresh(&self, guest: &Guest, document: Document, stream: Option<mpsc::Sender<Out>>) -> (String, Arc<Session>) {
        let id = self.random.token();
        let whose = (guest.user, guest.client_id.clone(), guest.place.clone());
        let session = Session::new(Digest::of(&*id), whose, document, (self.clock.now(), stream));
        (id.to_string(), Arc::new(session))
    }

    /// Whether a session is still there, as far as the database said a moment ago.
    async fn is_alive(&self, session: &Session) -> Result<bool, Fault> {
        let now = self.clock.now();
        session.seen.set(now);
        if now.since(session.noted.get()) >= NOTE_EVERY {
            session.noted.set(now);
            if !self.store.touch_mcp_session(&session.token, now).await? {
                return Ok(false);
            }
        }
        if is_recent(&session.checked, now) {
            return Ok(true);
        }
        session.checked.set(now);
        let Some(row) = self.store.mcp_session(&session.token).await? else { return Ok(false) };
        let digest = Some(Digest::of(&row.sealed));
        if *session.kept.lock() != digest {
            session.replace(self.open(&row)?);
            *session.kept.lock() = digest;
        }
        Ok(true)
    }

    /// A session of another process, or of this one before it was forgotten.
    async fn read(&self, guest: &Guest, token: Digest) -> Result<Option<Arc<Session>>, Fault> {
        let Some(row) = self.store.mcp_session(&token).await? else { return Ok(None) };
        let now = self.clock.now();
        let is_theirs = row.user == guest.user && *row.client_id == *guest.client_id && *row.realm == *guest.place;
        if !is_theirs || now.since(row.last_seen_at) >= IDLE {
            return Ok(None);
        }
        let whose = (guest.user, guest.client_id.clone(), guest.place.clone());
        let session = Session::new(token, whose, self.open(&row)?, (now, None));
        session.noted.set(row.last_seen_at);
        *session.kept.lock() = Some(Digest::of(&row.sealed));
        // Of two requests at once the first one's stays.
        Ok(Some(self.known.lock().entry(token).or_insert_with(|| Arc::new(session)).clone()))
    }

    fn seal(&self, session: &Session) -> Result<Vec<u8>, Fault> {
        let document = serde_json::to_vec(&session.document()).map_err(Fault::gateway)?;
        let (row, person) = (HEXLOWER.encode(&session.token.0), session.user.to_string());
        Ok(self.vault.seal(&place(&row, &person), &document))
    }

    fn open(&self, row: &McpSession) -> Result<Document, Fault> {
        let (name, person) = (HEXLOWER.encode(&row.token.0), row.user.to_string());
        let document = self.vault.open(&place(&name, &person), &row.sealed).map_err(Fault::gateway)?;
        serde_json::from_slice(&document).map_err(Fault::gateway)
    }
}

fn place<'a>(row: &'a str, person: &'a str) -> Place<'a> {
    Place { table: "mcp_sessions", row, column: "sealed", person, upstream: "" }
}

fn is_recent(checked: &Moment, now: Timestamp) -> bool {
    now.since(checked.get()) < CHECK_EVERY
}
