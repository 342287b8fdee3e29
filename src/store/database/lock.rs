//! What transactions that read before they write have to have to themselves, where there are several writers.

use crate::ids::{Digest, UserId};

/// A named lock, held until the transaction ends. Whoever needs two takes them in the order in which they stand here.
#[derive(Clone, Copy)]
pub(in crate::store) enum Lock<'a> {
    /// The schema.
    Migrations,
    /// Who is an administrator, and enabled: there must always be one.
    Administrators,
    /// How many clients that nobody used there are.
    RoomForClients,
    /// A registration together with the grants that depend on it, by `client_id`: in whatever realm.
    Client(&'a str),
    /// The line of signing keys.
    SigningKeys,
    /// Who belongs to which group.
    Groups,
    /// What one person signs in with.
    Person(UserId),
    /// Authorizations that are given back.
    Partings,
    /// Grants that end: one ending may take many with it, and two that cross would wait for each other.
    Revocations,
    /// The audit log's chain has one end.
    Audit,
    /// Numbers in the journal become visible in their order: the next one is given out when the last one is committed.
    Journal,
}

impl Lock<'_> {
    /// Takes it; the two numbers are the key of an advisory lock, which belongs to one database of a server.
    pub(super) fn statement(self) -> String {
        let (kind, which) = self.key();
        format!("SELECT pg_advisory_xact_lock({kind}, {which})")
    }

    /// Two clients or people with one number merely wait for each other. The number must be the same on every node,
    /// whatever version it runs.
    fn key(self) -> (i32, i32) {
        const OURS: i32 = 0x706f_7200;
        let (kind, which) = match self {
            Self::Migrations => (0, 0),
            Self::Administrators => (1, 0),
            Self::RoomForClients => (2, 0),
            Self::Client(id) => (3, number(&Digest::of(id).0)),
            Self::SigningKeys => (4, 0),
            Self::Groups => (5, 0),
            Self::Person(id) => (6, number(&id.0)),
            Self::Revocations => (7, 0),
            Self::Journal => (8, 0),
            Self::Partings => (9, 0),
            Self::Audit => (10, 0),
        };
        (OURS + kind, which)
    }
}

fn number(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |first| i32::from_be_bytes(*first))
}
