//! The lives of credentials: they end with their connection, or when an administrator takes the upstream away, be it from
//! everybody or from one person. New tokens of the same connection continue its life.

use super::{Connections, Target};
use crate::error::Fault;
use crate::hostname::Authority;
use crate::ids::{ConnectionId, UserId};
use crate::life::Life;
use crate::mcp::ToolPolicy;
use crate::store::ConnectionState;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long it is remembered that a connection ended: longer than it takes to make a credential of a row that was read
/// just before.
const REMEMBERED: Duration = Duration::from_secs(60);
const MAX_REMEMBERED: u64 = 100_000;

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A person's connection.
    Connection(ConnectionId),
    /// The configuration: everybody at this upstream shares it, and yet each may lose the permission to use it.
    Configuration(Authority, UserId),
}

/// The lives of all credentials that somebody holds.
pub(super) struct CredentialLives {
    alive: Mutex<HashMap<Source, Entry>>,
    /// The newest version of a connection that is known to have ended.
    ended: Cache<ConnectionId, i64>,
}

struct Entry {
    target: Target,
    user: UserId,
    life: Weak<Life>,
}

impl CredentialLives {
    pub(super) fn new() -> Self {
        let ended = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED).build();
        Self { alive: Mutex::default(), ended }
    }

    /// The life of a connection that was in force, at this `version`, when its row was read. It is over if the connection
    /// ended meanwhile, or if the upstream is not `usable` by this person any longer.
    pub(super) fn of_connection(
        &self,
        (id, version): (ConnectionId, i64),
        whose: (UserId, &Target),
        usable: impl FnOnce() -> bool,
    ) -> Arc<Life> {
        let ended = || self.ended.get(&id).is_some_and(|last| version <= last);
        self.of(Source::Connection(id), whose, || !ended() && usable())
    }

    /// The life of what the configuration gives; over if the upstream is not `usable` by this person any longer.
    pub(super) fn of_configuration(
        &self,
        (user, authority): (UserId, &Authority),
        usable: impl FnOnce() -> bool,
    ) -> Arc<Life> {
        let target = Target::Upstream(authority.clone());
        self.of(Source::Configuration(authority.clone(), user), (user, &target), usable)
    }

    fn of(&self, source: Source, (user, target): (UserId, &Target), in_force: impl FnOnce() -> bool) -> Arc<Life> {
        let mut alive = self.alive.lock();
        if let Some(life) = alive.get(&source).and_then(|entry| entry.life.upgrade()) {
            return life;
        }
        // Asked under the lock: whoever ends something writes that down first and looks for the life afterwards.
        if !in_force() {
            return Life::over();
        }
        let life = Arc::new(Life::default());
        if alive.len() == alive.capacity() {
            // Rather than grow with what nobody holds any more.
            alive.retain(|_, entry| entry.life.strong_count() > 0);
            let more = alive.len() / 4 + 1;
            alive.reserve(more);
        }
        alive.insert(source, Entry { target: target.clone(), user, life: Arc::downgrade(&life) });
        life
    }

    /// A connection has ended, and with it all its versions up to this one.
    pub(super) fn end(&self, id: ConnectionId, version: i64) {
        self.ended.insert(id, version);
        let entry = self.alive.lock().remove(&Source::Connection(id));
        if let Some(life) = entry.and_then(|entry| entry.life.upgrade()) {
            life.finish();
        }
    }

    /// Ends everything of people at upstreams that are not `usable` by them any longer.
    pub(super) fn end_where_not(&self, usable: impl Fn(UserId, &Target) -> bool) {
        let mut alive = self.alive.lock();
        let gone = alive.extract_if(|_, entry| !usable(entry.user, &entry.target));
        let gone: Vec<Entry> = gone.map(|(_, entry)| entry).collect();
        drop(alive);
        gone.iter().filter_map(|entry| entry.life.upgrade()).for_each(|life| life.finish());
    }

    /// The connections that somebody holds a credential of.
    fn connections(&self) -> Vec<ConnectionId> {
        let alive = self.alive.lock();
        let of_connection = |source: &Source| match source {
            Source::Connection(id) => Some(*id),
            Source::Configuration(..) => None,
        };
        alive.keys().filter_map(of_connection).collect()
    }

    /// Whose connection it is, if somebody holds a credential of it.
    pub(super) fn holder(&self, id: ConnectionId) -> Option<UserId> {
        self.alive.lock().get(&Source::Connection(id)).map(|entry| entry.user)
    }

    /// How many answers depend on a connection.
    fn answers(&self, id: ConnectionId) -> usize {
        let alive = self.alive.lock();
        let life = alive.get(&Source::Connection(id)).and_then(|entry| entry.life.upgrade());
        life.map_or(0, |life| life.answers())
    }

    /// Drops what nobody holds any more.
    pub(super) fn sweep(&self) {
        self.alive.lock().retain(|_, entry| entry.life.strong_count() > 0);
    }
}

impl Connections {
    /// A connection is gone for good: its credential is not given out any more, what is open with it ends, and
    /// [`Connections::part`] gives it back.
    pub fn cut_off(&self, id: ConnectionId) {
        self.ended_at(id, i64::MAX);
        self.parted.notify_one();
    }

    /// How many requests and streams of this process are being answered with a connection: those that its end breaks off.
    pub fn answers_with(&self, id: ConnectionId) -> usize {
        self.lives.answers(id)
    }

    /// Learns what became of a connection, after [`crate::store::Change::ConnectionChanged`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catch_up(&self, id: ConnectionId) -> Result<(), Fault> {
        self.forget(id);
        let row = self.store.connection_by_id(id).await?;
        if let Some(row) = &row {
            self.news.tell(row.user);
        }
        match row {
            None => self.cut_off(id),
            Some(row) if row.state == ConnectionState::NeedsConsent => self.ended_at(id, row.version),
            Some(_) => {}
        }
        Ok(())
    }

    /// Learns what became of all connections, after changes that nobody can name any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catch_up_with_all(&self) -> Result<(), Fault> {
        self.lives.sweep();
        self.memory.forget_all();
        let mut gone: HashSet<ConnectionId> = self.lives.connections().into_iter().collect();
        let ids: Vec<_> = gone.iter().copied().collect();
        for (id, version, state) in self.store.states_of_connections(&ids).await? {
            gone.remove(&id);
            if state == ConnectionState::NeedsConsent {
                self.ended_at(id, version);
            }
        }
        gone.into_iter().for_each(|id| self.cut_off(id));
        Ok(())
    }

    /// Ends what is open at upstreams that may not be used any longer, or not by that person, after the registry was
    /// reloaded.
    pub fn leave_unusable_upstreams(&self) {
        self.lives.end_where_not(|user, target| self.may_use(user, target));
    }

    /// Ends what is open at upstreams of which other tools may be used than before, after the registry was reloaded: an open
    /// WebSocket, or a stream on which answers come, was begun under the old rules. Clients connect again.
    pub fn leave_relimited_upstreams(&self, before: &HashMap<Authority, ToolPolicy>) {
        let after = self.registry.limited();
        if *before == after {
            return;
        }
        let is_same = |authority: &Authority| before.get(authority) == after.get(authority);
        self.lives.end_where_not(|_, target| match target {
            Target::Upstream(authority) => is_same(authority),
            Target::Service(_) => true,
        });
        self.memory.forget_all();
    }

    /// Drops what nobody holds any more.
    pub fn sweep(&self) {
        self.memory.sweep();
        self.lives.sweep();
    }

    /// A connection has ended, and with it all its versions up to this one.
    pub(super) fn ended_at(&self, id: ConnectionId, version: i64) {
        if let Some(user) = self.lives.holder(id) {
            self.news.tell(user);
        }
        self.lives.end(id, version);
        self.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnectionId = ConnectionId([1; 16]);
    const ANN: UserId = UserId([1; 16]);
    const BOB: UserId = UserId([2; 16]);

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn new_tokens_continue_a_life_and_new_consent_begins_one() {
        let (lives, notes) = (CredentialLives::new(), Target::Upstream(authority("notes.example")));
        let of = |version| lives.of_connection((ID, version), (ANN, &notes), || true);
        let first = of(1);
        assert!(Arc::ptr_eq(&first, &of(2)));
        lives.end(ID, 2);
        assert!(first.has_ended());
        assert!(of(2).has_ended(), "a row that was read before the end");
        assert!(!of(3).has_ended());
    }

    #[test]
    fn an_upstream_that_is_taken_away_ends_everything_there_and_nothing_elsewhere() {
        let lives = CredentialLives::new();
        let (notes, mail) = (authority("notes.example"), authority("mail.example"));
        let [at_notes, at_mail] = [&notes, &mail].map(|authority| Target::Upstream(authority.clone()));
        let person = lives.of_connection((ID, 1), (ANN, &at_notes), || true);
        let shared = lives.of_configuration((ANN, &notes), || true);
        let other = lives.of_configuration((ANN, &mail), || true);
        lives.end_where_not(|_, target| *target == at_mail);
        assert!(person.has_ended() && shared.has_ended() && !other.has_ended());
        assert!(lives.of_configuration((ANN, &notes), || false).has_ended(), "too late");
        assert!(!lives.of_connection((ID, 1), (ANN, &at_notes), || true).has_ended(), "let in again");
    }

    #[test]
    fn what_is_taken_away_from_one_person_ends_for_nobody_else() {
        let (lives, notes) = (CredentialLives::new(), authority("notes.example"));
        let [ann, bob] = [ANN, BOB].map(|person| lives.of_configuration((person, &notes), || true));
        lives.end_where_not(|person, _| person != BOB);
        assert!(bob.has_ended() && !ann.has_ended());
    }

    #[test]
    fn many_who_come_and_go_take_no_room_and_nobody_s_life_with_them() {
        let (lives, notes) = (CredentialLives::new(), authority("notes.example"));
        let person = |number: u32| UserId(u128::from(number).to_be_bytes());
        let held: Vec<_> = (0..100).map(|number| lives.of_configuration((person(number), &notes), || true)).collect();
        for number in 100..5000 {
            drop(lives.of_configuration((person(number), &notes), || true));
        }
        let kept = lives.alive.lock().len();
        let room = lives.alive.lock().capacity();
        assert!(kept <= room && room < 500, "{kept} of {room}");
        lives.end_where_not(|_, _| false);
        assert!(held.iter().all(|life| life.has_ended()));
    }

    #[test]
    fn sweeping_keeps_what_is_in_use() {
        let (lives, notes) = (CredentialLives::new(), authority("notes.example"));
        let used = lives.of_configuration((ANN, &notes), || true);
        drop(lives.of_connection((ID, 1), (ANN, &Target::Upstream(notes.clone())), || true));
        lives.sweep();
        assert_eq!(lives.alive.lock().len(), 1);
        assert!(Arc::ptr_eq(&used, &lives.of_configuration((ANN, &notes), || true)));
    }
}
