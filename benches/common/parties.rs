//! People, servers and dice for benchmarks that count what many of them do.

use portcullis::clock::Timestamp;
use portcullis::config::UpstreamAuth;
use portcullis::hostname::Authority;
use portcullis::ids::{Random, UserId};
use portcullis::tokens::{AccessToken, Terms};
use portcullis::upstream::{Access, Standing, Upstream};
use std::sync::Arc;

/// A token of a new person of that number, for this client.
pub fn token(person: usize, client_id: &str) -> Arc<AccessToken> {
    let terms = Terms { client_id: client_id.into(), ..Terms::default() };
    let user = (UserId::random(&Random::default()), &*format!("person-{person}"));
    Arc::new(AccessToken::new(user, terms, Arc::default(), Timestamp(0)))
}

/// A server that everybody may use.
pub fn upstream(number: usize) -> Arc<Upstream> {
    Arc::new(Upstream {
        authority: Authority::parse(&format!("server-{number}.example")).unwrap(),
        name: "Server".to_owned(),
        alias: None,
        kind: Default::default(),
        path: None,
        auth: Arc::new(UpstreamAuth::None),
        allow_private: false,
        standing: Standing::Allowed,
        access: Access::Everybody,
        tools: None,
    })
}

/// Knuth's linear congruential generator: the same requests every time.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % count as u64).unwrap()
    }

    /// The same, the smaller ones more often.
    pub fn skewed(&mut self, count: usize) -> usize {
        self.below(count).min(self.below(count)).min(self.below(count))
    }
}
