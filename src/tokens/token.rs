//! A verified token, as it is remembered: a million of them are meant to fit into little memory.

use super::verify::Mark;
use crate::clock::Timestamp;
use crate::ids::{GrantId, UserId};
use crate::life::Life;
use crate::table::{Entry, Table};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;

/// How many different terms are remembered; beyond that tokens have copies of their own.
const TERMS: usize = 100_000;

/// A verified token. Its existence is the proof; fields are for reading, those of its [`Terms`] too.
pub struct AccessToken {
    /// `sub`.
    pub user: UserId,
    /// `username`.
    pub username: Name,
    /// Ends when the grant is revoked.
    pub life: Arc<Life>,
    pub(super) terms: Arc<Terms>,
    /// What it is found by.
    pub(super) mark: Mark,
    /// `exp`, in seconds since 1970; enough until 2106.
    pub(super) expires: u32,
}

/// What many tokens have in common.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// `iss`: the issuer identifier of a realm of ours.
    pub issuer: Box<str>,
    /// `aud`: one resource.
    pub audience: Box<str>,
    /// `client_id`.
    pub client_id: Box<str>,
    /// `scope`, space-separated.
    pub scope: Box<str>,
    /// `act`: the client that acts for the person, where the token was exchanged for the person's.
    pub actor: Option<Box<str>>,
    /// `cnf.jkt`: the key that must prove itself beside the token (RFC 9449).
    pub confirmation: Option<Box<str>>,
}

/// The name of a person: in place up to 14 bytes, on the heap beyond.
pub struct Name(Text);

enum Text {
    Short(u8, [u8; SHORT]),
    Long(Box<Long>),
}

/// A thin pointer to a text has to point to its length.
struct Long(Box<str>);

const SHORT: usize = 14;

impl AccessToken {
    /// What was verified of a token of a grant, whose `life` has the grant's id.
    pub fn new(
        (user, username): (UserId, &str),
        terms: impl Into<Arc<Terms>>,
        life: Arc<Life>,
        expires_at: Timestamp,
    ) -> Self {
        let expires = u32::try_from(expires_at.seconds().max(0)).unwrap_or(u32::MAX);
        Self { user, username: username.into(), life, terms: terms.into(), mark: Mark::default(), expires }
    }

    /// The grant.
    pub fn grant(&self) -> GrantId {
        GrantId(self.life.id())
    }

    /// `exp`.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.expires.into())
    }
}

impl Deref for AccessToken {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Entry for AccessToken {
    /// Part of a keyed digest. A token that gives way for another is verified once more, which is no reason to spare it.
    fn hash(&self) -> u64 {
        self.mark.hash()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("user", &self.user)
            .field("grant", &self.grant())
            .field("terms", &self.terms)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// Terms that tokens share.
pub(super) struct SharedTerms {
    table: Table<Shared>,
    keys: RandomState,
}

struct Shared {
    terms: Arc<Terms>,
    hash: u64,
}

impl SharedTerms {
    pub(super) fn new() -> Self {
        Self { table: Table::new(TERMS), keys: RandomState::new() }
    }

    /// The same terms as every other token that has them. Those with a key of their own are nobody else's.
    pub(super) fn of(&self, terms: Terms) -> Arc<Terms> {
        if terms.confirmation.is_some() {
            return Arc::new(terms);
        }
        let hash = self.keys.hash_one(&terms);
        if let Some(known) = self.table.find(hash, |known| *known.terms == terms) {
            return known.terms.clone();
        }
        let new = Arc::new(Shared { terms: Arc::new(terms), hash });
        self.table.find_or_insert(hash, |known| known.terms == new.terms, || new.clone()).terms.clone()
    }

    /// Drops what no token has any more.
    pub(super) fn sweep(&self) {
        self.table.retain(|known| Arc::strong_count(&known.terms) > 1);
    }
}

impl Entry for Shared {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        let mut short = [0; SHORT];
        let text = match (short.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Text::Short(length, short)
            }
            _ => Text::Long(Box::new(Long(text.into()))),
        };
        Self(text)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // It was a text when it was put there.
            Text::Short(length, bytes) => {
                bytes.get(..usize::from(*length)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
            }
            Text::Long(long) => &long.0,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(client: &str, key: Option<&str>) -> Terms {
        Terms { client_id: client.into(), confirmation: key.map(Into::into), ..Terms::default() }
    }

    #[test]
    fn a_name_is_what_it_was_however_long() {
        for name in ["", "alice", "fourteen bytes", "fifteen bytes..", "j\u{f6}rg", &"\u{1f600}".repeat(40)] {
            assert_eq!(&*Name::from(name), name);
            let told = (format!("{}", Name::from(name)), format!("{:?}", Name::from(name)));
            assert_eq!(told, (name.to_owned(), format!("{name:?}")));
        }
    }

    #[test]
    fn equal_terms_are_shared_until_nobody_has_them_and_those_of_a_key_are_not() {
        let shared = SharedTerms::new();
        let (one, same, other) =
            (shared.of(terms("a", None)), shared.of(terms("a", None)), shared.of(terms("b", None)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        let bound = [shared.of(terms("a", Some("key"))), shared.of(terms("a", Some("key")))];
        assert!(!Arc::ptr_eq(&bound[0], &bound[1]));
        drop(other);
        shared.sweep();
        assert_eq!(shared.table.len(), 1);
        assert!(Arc::ptr_eq(&one, &shared.of(terms("a", None))));
    }

    /// docs/performance.md, "Growth": with two counters of the `Arc` a token has 80 bytes on the heap and a life 48, both sizes
    /// that the allocator has.
    #[test]
    fn a_remembered_token_is_small() {
        assert_eq!((size_of::<AccessToken>(), size_of::<Life>(), size_of::<Name>()), (64, 32, 16));
    }
}
