//! Everybody's connections and personal access tokens at one service, for administrators, a page at a time.

use super::columns::reading;
use super::database::query_as;
use super::*;
use crate::ids::UserId;

/// Comes before everybody: ids are random.
const NOBODY: UserId = UserId([0; 16]);

impl Store {
    /// The connections with this `authority` of people whose id comes after `after`, by that id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_at(
        &self,
        authority: &str,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Owned<Connection>>, StoreError> {
        let select = query_as(
            "SELECT connections.*, users.name AS user_name FROM connections
             LEFT JOIN users ON users.id = connections.user_id
             WHERE authority = ? AND account = '' AND user_id > ? ORDER BY user_id LIMIT ?",
        );
        let select = select.bind(authority).bind(after.unwrap_or(NOBODY)).bind(limit);
        select.fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// The personal access tokens for a service of people whose id comes after `after`, by that id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn service_pats_at(
        &self,
        service: &str,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Owned<ServicePat>>, StoreError> {
        let select = query_as(
            "SELECT service_pats.*, users.name AS user_name FROM service_pats
             LEFT JOIN users ON users.id = service_pats.user_id
             WHERE service = ? AND user_id > ? ORDER BY user_id LIMIT ?",
        );
        let select = select.bind(service).bind(after.unwrap_or(NOBODY)).bind(limit);
        select.fetch_all(self.database.readers()).await.map_err(reading::<ServicePat>)
    }
}
