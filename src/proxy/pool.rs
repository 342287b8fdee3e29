//! Connections to upstreams over HTTP/1.1 that wait for their next request, each kept for one person's authorization.

use super::http1;
use crate::connect::ConnectionKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How long an unused connection is kept. Below the 60 s after which common servers close: the fewer requests meet a
/// connection that is being closed, the better.
const IDLE: Duration = Duration::from_secs(45);
/// How many unused connections are kept, all upstreams together.
const CAPACITY: usize = 1024;
/// How often connections are looked for that were closed or have waited too long.
const SWEEP: Duration = Duration::from_secs(5);

/// Whose connection it is, and by which rules its address was chosen. Two people never share one: whatever an upstream attaches
/// to a connection stays with one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) key: ConnectionKey,
    pub(super) allow_private: bool,
}

/// A connection that waits.
pub(super) struct Idle {
    pub(super) session: Box<http1::ClientSession>,
    pub(super) place: Place,
}

/// Where a connection leads, and whose it is.
pub(super) struct Place {
    pub(super) owner: Arc<Owner>,
    pub(super) address: SocketAddr,
    /// When the upstream's name was last seen to lead to that address.
    pub(super) checked: Instant,
}

/// All that wait. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    hasher: RandomState,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the hash of the owner, which is compared as well.
    connections: HashMap<u64, Vec<(Instant, Idle)>>,
    count: usize,
    /// Whether somebody looks after them.
    swept: bool,
}

impl Pool {
    /// The connection of `owner` that was used last.
    pub(super) fn take(&self, key: &ConnectionKey, allow_private: bool) -> Option<Idle> {
        let hash = self.0.hash(key, allow_private);
        let mut waiting = self.0.waiting.lock();
        let connections = waiting.connections.get_mut(&hash)?;
        let is_theirs = |(_, idle): &(Instant, Idle)| {
            idle.place.owner.key == *key && idle.place.owner.allow_private == allow_private
        };
        let at = connections.iter().rposition(is_theirs)?;
        let (_, idle) = connections.swap_remove(at);
        // The entry stays for the next one; sweeping removes what nobody comes back to.
        waiting.count -= 1;
        Some(idle)
    }

    /// Keeps a connection, if it can be used again and there is room for it.
    pub(super) fn put(&self, mut idle: Idle) {
        if !idle.session.is_reusable() {
            return;
        }
        let hash = self.0.hash(&idle.place.owner.key, idle.place.owner.allow_private);
        let mut waiting = self.0.waiting.lock();
        if waiting.count >= CAPACITY {
            return;
        }
        waiting.count += 1;
        waiting.connections.entry(hash).or_default().push((Instant::now(), idle));
        if !std::mem::replace(&mut waiting.swept, true) {
            drop(waiting);
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }
}

impl Shared {
    fn hash(&self, key: &ConnectionKey, allow_private: bool) -> u64 {
        self.hasher.hash_one((key, allow_private))
    }
}

impl Waiting {
    /// Lets go of what was closed, and of what nobody wanted.
    fn sweep(&mut self, now: Instant) {
        self.connections.retain(|_, connections| {
            connections.retain_mut(|(since, idle)| now - *since < IDLE && idle.session.is_alive());
            !connections.is_empty()
        });
        self.count = self.connections.values().map(Vec::len).sum();
        self.swept = self.count > 0;
    }
}

/// Looks after a pool until it is empty, or gone.
async fn sweep(pool: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut waiting = pool.waiting.lock();
        waiting.sweep(Instant::now());
        if !waiting.swept {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Authority;
    use crate::ids::{Random, UserId};
    use crate::proxy::http1::{ClientSession, Framing, Line, Wire};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    fn owner(name: &str, user: UserId) -> Arc<Owner> {
        let key = ConnectionKey::upstream(user, Authority::parse(name).unwrap(), None);
        Arc::new(Owner { key, allow_private: false })
    }

    /// A connection that was used once, and its other end.
    async fn idle(owner: &Arc<Owner>) -> (Idle, TcpStream) {
        const PATIENCE: Duration = Duration::from_secs(30);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut session = Box::new(ClientSession::new(Wire::Tcp(TcpStream::connect(address).await.unwrap())));
        let (mut peer, _) = listener.accept().await.unwrap();
        let line = Line { method: &http::Method::GET, target: "/", framing: Framing::None, size: 0 };
        session.write_head(line, PATIENCE, |_| {});
        session.send_whole(b"").await.unwrap();
        peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        session.read_head(PATIENCE).await.unwrap();
        let place = Place { owner: owner.clone(), address, checked: Instant::now() };
        (Idle { session, place }, peer)
    }

    #[tokio::test]
    async fn a_connection_is_given_to_its_owner_alone_and_the_last_one_first() {
        let (pool, random) = (Pool::default(), Random::default());
        let (alice, bob) = (UserId::random(&random), UserId::random(&random));
        let hers = owner("a.example", alice);
        let ((first, _one), (second, _two)) = (idle(&hers).await, idle(&hers).await);
        let last = second.place.address;
        pool.put(first);
        pool.put(second);
        for (name, user, allow_private) in
            [("a.example", bob, false), ("b.example", alice, false), ("a.example", alice, true)]
        {
            assert!(pool.take(&owner(name, user).key, allow_private).is_none());
        }
        assert_eq!(pool.take(&hers.key, false).unwrap().place.address, last);
        assert!(pool.take(&hers.key, false).is_some());
        assert!(pool.take(&hers.key, false).is_none());
    }

    #[tokio::test]
    async fn what_is_closed_or_waits_too_long_goes() {
        let pool = Pool::default();
        let hers = owner("a.example", UserId::random(&Random::default()));
        let ((kept, _open), (closed, peer)) = (idle(&hers).await, idle(&hers).await);
        pool.put(kept);
        pool.put(closed);
        drop(peer);
        let left = || pool.0.waiting.lock().count;
        // The kernel tells the runtime in its own time.
        while left() == 2 {
            tokio::task::yield_now().await;
            pool.0.waiting.lock().sweep(Instant::now());
        }
        assert_eq!(left(), 1);
        pool.0.waiting.lock().sweep(Instant::now() + IDLE);
        assert_eq!(left(), 0);
        assert!(pool.0.waiting.lock().connections.is_empty());
    }
}
