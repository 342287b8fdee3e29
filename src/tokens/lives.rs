//! The life of a grant governs the life of its tokens and of its open streams.

use crate::ids::GrantId;
use crate::life::Life;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// The lives of all grants that have a verified token in memory, and the grants that ended recently enough for a token
/// of theirs to be unexpired.
#[derive(Debug, Default)]
pub struct GrantLives {
    state: Mutex<Lives>,
}

#[derive(Debug, Default)]
struct Lives {
    alive: HashMap<GrantId, Weak<Life>>,
    ended: HashSet<GrantId>,
}

impl GrantLives {
    /// The life of a grant, already ended if the grant is known to be revoked.
    pub fn of(&self, grant: GrantId) -> Arc<Life> {
        let mut state = self.state.lock();
        if let Some(life) = state.alive.get(&grant).and_then(Weak::upgrade) {
            return life;
        }
        if state.ended.contains(&grant) {
            return Life::over();
        }
        let life = Arc::new(Life::default());
        state.alive.insert(grant, Arc::downgrade(&life));
        life
    }

    /// Ends a grant: its tokens are refused and its streams closed from now on.
    pub fn end(&self, grant: GrantId) {
        let life = {
            let mut state = self.state.lock();
            state.ended.insert(grant);
            state.alive.remove(&grant).and_then(|life| life.upgrade())
        };
        if let Some(life) = life {
            life.finish();
        }
    }

    /// How many requests and streams of this process are being answered under a grant: those that its end breaks off.
    pub fn answers_under(&self, grant: GrantId) -> usize {
        let state = self.state.lock();
        state.alive.get(&grant).and_then(Weak::upgrade).map_or(0, |life| life.answers())
    }

    /// Whether a grant is known to be revoked.
    pub fn has_ended(&self, grant: GrantId) -> bool {
        self.state.lock().ended.contains(&grant)
    }

    /// Ends every life without ending the grants: streams are closed, and tokens are verified anew.
    /// Whether there were any.
    pub fn interrupt(&self) -> bool {
        let alive = std::mem::take(&mut self.state.lock().alive);
        let alive: Vec<_> = alive.into_values().filter_map(|life| life.upgrade()).collect();
        alive.iter().for_each(|life| life.finish());
        !alive.is_empty()
    }

    /// The grants that are known to have ended. Read it before asking the store which of them still matter: a grant that
    /// ends in between must not be taken for one that matters no more.
    pub fn ended(&self) -> HashSet<GrantId> {
        self.state.lock().ended.clone()
    }

    /// Drops what nobody holds any more, and of the ended grants exactly those that are `irrelevant`: no token of theirs
    /// can be unexpired.
    pub fn sweep(&self, irrelevant: &HashSet<GrantId>) {
        let mut state = self.state.lock();
        state.alive.retain(|_, life| life.strong_count() > 0);
        state.ended.retain(|grant| !irrelevant.contains(grant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;

    #[test]
    fn an_end_reaches_holders_and_latecomers() {
        let (lives, grant) = (GrantLives::default(), GrantId::random(&Random::default()));
        let life = lives.of(grant);
        assert!(!life.has_ended());
        lives.end(grant);
        assert!(life.has_ended());
        assert!(lives.of(grant).has_ended());
    }

    #[test]
    fn sweeping_keeps_what_is_in_use() {
        let (lives, random) = (GrantLives::default(), Random::default());
        let (used, unused) = (GrantId::random(&random), GrantId::random(&random));
        let life = lives.of(used);
        drop(lives.of(unused));
        lives.sweep(&HashSet::new());
        assert_eq!(lives.state.lock().alive.len(), 1);
        assert!(Arc::ptr_eq(&life, &lives.of(used)));
    }

    #[test]
    fn a_grant_that_ends_while_the_store_is_asked_stays_ended() {
        let (lives, random) = (GrantLives::default(), Random::default());
        let (old, fresh) = (GrantId::random(&random), GrantId::random(&random));
        lives.end(old);
        let known = lives.ended();
        lives.end(fresh); // the store was asked before
        lives.sweep(&known);
        assert!(!lives.of(old).has_ended());
        assert!(lives.of(fresh).has_ended());
    }
}
