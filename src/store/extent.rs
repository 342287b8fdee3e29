//! How much hangs on something, for whoever is about to end it.

use super::database::query_scalar;
use super::*;
use crate::clock::Timestamp;
use crate::ids::UserId;

/// How much hangs on an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamExtent {
    /// Connections of people.
    pub connections: i64,
    /// Of so many people.
    pub people: i64,
    /// Consents to clients that are in force.
    pub grants: i64,
}

/// What a person has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonExtent {
    /// Signed-in browsers.
    pub sessions: i64,
    /// Connections to upstreams and services.
    pub connections: i64,
    /// Consents to clients that are in force.
    pub grants: i64,
}

impl Store {
    /// How much hangs on an upstream, which is known by these labels.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn upstream_extent(&self, authority: &str, labels: &[String]) -> Result<UpstreamExtent, StoreError> {
        let connections = query_scalar("SELECT COUNT(*) FROM connections WHERE authority = ?").bind(authority);
        let people =
            query_scalar("SELECT COUNT(DISTINCT user_id) FROM connections WHERE authority = ?").bind(authority);
        let mut grants = 0;
        for label in labels {
            // Another account of the same upstream is `account--label`; no label has a character with a meaning in LIKE.
            let select =
                query_scalar("SELECT COUNT(*) FROM grants WHERE revoked_at IS NULL AND (realm = ? OR realm LIKE ?)");
            let select = select.bind(label.as_str()).bind(format!("%--{label}"));
            let count: i64 = select.fetch_one(self.database.readers()).await?;
            grants += count;
        }
        Ok(UpstreamExtent {
            connections: connections.fetch_one(self.database.readers()).await?,
            people: people.fetch_one(self.database.readers()).await?,
            grants,
        })
    }

    /// What a person has.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn person_extent(&self, user: UserId, now: Timestamp) -> Result<PersonExtent, StoreError> {
        let sessions = query_scalar("SELECT COUNT(*) FROM sessions WHERE user_id = ? AND expires_at > ?");
        let connections = query_scalar("SELECT COUNT(*) FROM connections WHERE user_id = ?").bind(user);
        let grants = query_scalar("SELECT COUNT(*) FROM grants WHERE user_id = ? AND revoked_at IS NULL").bind(user);
        Ok(PersonExtent {
            sessions: sessions.bind(user).bind(now).fetch_one(self.database.readers()).await?,
            connections: connections.fetch_one(self.database.readers()).await?,
            grants: grants.fetch_one(self.database.readers()).await?,
        })
    }
}
