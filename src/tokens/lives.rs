//! The life of a grant governs the life of its tokens and of its open streams.

use crate::ids::GrantId;
use crate::life::Life;
use hashbrown::HashTable;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// So that a table that grows makes few wait, and for a short time: a million lives are 7,000 in each.
const SHARDS: usize = 147;

/// The lives of all grants that have a verified token in memory, and the grants that ended recently enough for a token
/// of theirs to be unexpired.
#[derive(Debug)]
pub struct GrantLives {
    shards: [Mutex<Lives>; SHARDS],
}

#[derive(Debug, Default)]
struct Lives {
    /// By the grant's id, which each of them has.
    alive: HashTable<Arc<Life>>,
    ended: HashSet<GrantId>,
}

impl Default for GrantLives {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl GrantLives {
    /// The life of a grant, already ended if the grant is known to be revoked.
    pub fn of(&self, grant: GrantId) -> Arc<Life> {
        let mut lives = self.shard(grant).lock();
        if let Some(life) = lives.find(grant) {
            return life.clone();
        }
        if lives.ended.contains(&grant) {
            return Life::over_of(grant.0);
        }
        let life = Arc::new(Life::of(grant.0));
        if lives.alive.len() == lives.alive.capacity() {
            // Rather than grow with what nobody holds any more.
            lives.drop_unused();
            lives.make_room();
        }
        lives.alive.insert_unique(hash(grant), life.clone(), |life| hash(GrantId(life.id())));
        life
    }

    /// Ends a grant: its tokens are refused and its streams closed from now on.
    pub fn end(&self, grant: GrantId) {
        let life = {
            let mut lives = self.shard(grant).lock();
            lives.ended.insert(grant);
            lives.alive.find_entry(hash(grant), is(grant)).ok().map(|entry| entry.remove().0)
        };
        if let Some(life) = life {
            life.finish();
        }
    }

    /// How many requests and streams of this process are being answered under a grant: those that its end breaks off.
    pub fn answers_under(&self, grant: GrantId) -> usize {
        self.shard(grant).lock().find(grant).map_or(0, |life| life.answers())
    }

    /// Whether a grant is known to be revoked.
    pub fn has_ended(&self, grant: GrantId) -> bool {
        self.shard(grant).lock().ended.contains(&grant)
    }

    /// Ends every life without ending the grants: streams are closed, and tokens are verified anew.
    /// Whether there were any.
    pub fn interrupt(&self) -> bool {
        let mut any = false;
        for shard in &self.shards {
            let alive = std::mem::take(&mut shard.lock().alive);
            any |= alive.iter().any(|life| Arc::strong_count(life) > 1);
            alive.iter().for_each(|life| life.finish());
        }
        any
    }

    /// The grants that are known to have ended. Read it before asking the store which of them still matter: a grant that
    /// ends in between must not be taken for one that matters no more.
    pub fn ended(&self) -> HashSet<GrantId> {
        self.shards.iter().flat_map(|shard| shard.lock().ended.iter().copied().collect::<Vec<_>>()).collect()
    }

    /// Drops what nobody holds any more, and of the ended grants exactly those that are `irrelevant`: no token of theirs
    /// can be unexpired.
    pub fn sweep(&self, irrelevant: &HashSet<GrantId>) {
        for shard in &self.shards {
            let mut lives = shard.lock();
            lives.drop_unused();
            if lives.alive.len() < lives.alive.capacity() / 4 {
                lives.alive.shrink_to_fit(|life| hash(GrantId(life.id())));
            }
            if !lives.ended.is_empty() {
                lives.ended.retain(|grant| !irrelevant.contains(grant));
            }
        }
    }

    #[allow(clippy::indexing_slicing)] // the product is below the length
    fn shard(&self, grant: GrantId) -> &Mutex<Lives> {
        &self.shards[((((hash(grant) >> 16) & 0xffff_ffff) * SHARDS as u64) >> 32) as usize]
    }
}

impl Lives {
    fn find(&self, grant: GrantId) -> Option<&Arc<Life>> {
        self.alive.find(hash(grant), is(grant))
    }

    /// For a quarter more, so that it takes as many new ones before the unused are looked for again.
    fn make_room(&mut self) {
        let more = self.alive.len() / 4 + 1;
        self.alive.reserve(more, |life| hash(GrantId(life.id())));
    }

    /// Nobody can get hold of one while the lock is held, so the last one stays the last one.
    fn drop_unused(&mut self) {
        self.alive.retain(|life| Arc::strong_count(life) > 1);
    }
}

fn is(grant: GrantId) -> impl Fn(&Arc<Life>) -> bool {
    move |life| life.id() == grant.0
}

/// Ids are random numbers of ours, and get here out of signed tokens or the database.
fn hash(grant: GrantId) -> u64 {
    grant.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;

    #[test]
    fn an_end_reaches_holders_and_latecomers() {
        let (lives, grant) = (GrantLives::default(), GrantId::random(&Random::default()));
        let life = lives.of(grant);
        assert!(!life.has_ended() && !lives.has_ended(grant));
        let answering = life.answering();
        assert_eq!(lives.answers_under(grant), 1);
        drop(answering);
        assert_eq!(lives.answers_under(grant), 0);
        lives.end(grant);
        assert!(life.has_ended() && lives.has_ended(grant));
        assert!(lives.of(grant).has_ended());
    }

    #[test]
    fn an_interruption_ends_lives_and_no_grant() {
        let (lives, random) = (GrantLives::default(), Random::default());
        let (used, unused) = (GrantId::random(&random), GrantId::random(&random));
        drop(lives.of(unused));
        assert!(!lives.interrupt(), "nobody has one");
        let life = lives.of(used);
        assert!(lives.interrupt() && life.has_ended());
        assert!(!lives.has_ended(used) && !lives.of(used).has_ended());
    }

    #[test]
    fn sweeping_keeps_what_is_in_use() {
        let (lives, random) = (GrantLives::default(), Random::default());
        let (used, unused) = (GrantId::random(&random), GrantId::random(&random));
        let life = lives.of(used);
        drop(lives.of(unused));
        lives.sweep(&HashSet::new());
        let left: usize = lives.shards.iter().map(|shard| shard.lock().alive.len()).sum();
        assert_eq!(left, 1);
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
