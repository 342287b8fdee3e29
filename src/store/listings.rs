//! Long lists, a page at a time: what comes after a row that the caller has seen.

use super::columns::reading;
use super::database::{Bind as _, FromRow, QueryBuilder, Row, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, GrantId, UserId};

/// A client as listings show it: registered, granted something, or both.
#[derive(Clone, Debug)]
pub struct ListedClient {
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// The `client_id`.
    pub id: String,
    /// Its metadata, JSON, if it registered.
    pub metadata: Option<String>,
    /// The name that people saw when they granted something.
    pub granted_name: Option<String>,
    /// The name of the person for whom it acts, of a machine client.
    pub owner_name: Option<String>,
    /// How many grants of its are in force.
    pub grants: i64,
    /// When it registered.
    pub created_at: Option<Timestamp>,
    /// When it last got a token.
    pub last_used_at: Option<Timestamp>,
}

/// A row together with the name of the person whose it is, while there is that person.
#[derive(Clone, Debug)]
pub struct Owned<T> {
    /// The row.
    pub row: T,
    /// The person's name.
    pub user_name: Option<String>,
}

/// An event with its place in the log.
#[derive(Clone, Debug)]
pub struct NumberedEvent {
    /// Grows with every event.
    pub number: i64,
    /// What happened.
    pub event: AuditEvent,
}

/// Which events; all that fit every one that is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditSelection<'a> {
    /// By whom.
    pub actor: Option<&'a str>,
    /// What.
    pub action: Option<&'a str>,
    /// At which upstream: its authority.
    pub upstream: Option<&'a str>,
    /// Through which client: its id.
    pub client: Option<&'a str>,
    /// Calls of this tool, also those that were refused.
    pub tool: Option<&'a str>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// With this number or a higher one.
    pub first: Option<i64>,
    /// With this number or a lower one.
    pub last: Option<i64>,
}

/// Which grants; all that fit every one that is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantSelection<'a> {
    /// Whose.
    pub user: Option<UserId>,
    /// To which client.
    pub client_id: Option<&'a str>,
}

impl Store {
    /// People whose name comes after `after`, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn users_page(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, StoreError> {
        let select = query_as("SELECT * FROM users WHERE lower(name) > ? ORDER BY lower(name) LIMIT ?");
        let select = select.bind(after.unwrap_or_default().to_ascii_lowercase()).bind(limit);
        select.fetch_all(self.database.readers()).await.map_err(reading::<User>)
    }

    /// Clients that come after realm and id, in that order.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn clients_page(&self, after: Option<(&str, &str)>, limit: u32) -> Result<Vec<ListedClient>, StoreError> {
        let (realm, id) = after.unwrap_or_default();
        let select = query_as(
            "SELECT realm, id, MAX(metadata) AS metadata, MAX(granted_name) AS granted_name, SUM(granted) AS grants,
                 MAX(created_at) AS created_at, MAX(last_used_at) AS last_used_at, MAX(owner_name) AS owner_name
             FROM (
                 SELECT realm, clients.id, metadata, NULL AS granted_name, 0 AS granted, clients.created_at, last_used_at,
                     users.name AS owner_name
                 FROM clients LEFT JOIN users ON users.id = owner_id
                 UNION ALL
                 SELECT realm, client_id, NULL, client_name, 1, NULL, NULL, NULL FROM grants WHERE revoked_at IS NULL
             ) AS listed
             WHERE (realm, id) > (?, ?) GROUP BY realm, id ORDER BY realm, id LIMIT ?",
        );
        Ok(select.bind(realm).bind(id).bind(limit).fetch_all(self.database.readers()).await?)
    }

    /// One client, registered or granted something.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn listed_client(&self, realm: &str, id: &str) -> Result<Option<ListedClient>, StoreError> {
        let select = query_as(
            "SELECT realm, id, MAX(metadata) AS metadata, MAX(granted_name) AS granted_name, SUM(granted) AS grants,
                 MAX(created_at) AS created_at, MAX(last_used_at) AS last_used_at, MAX(owner_name) AS owner_name
             FROM (
                 SELECT realm, clients.id, metadata, NULL AS granted_name, 0 AS granted, clients.created_at, last_used_at,
                     users.name AS owner_name
                 FROM clients LEFT JOIN users ON users.id = owner_id
                 WHERE realm = ? AND clients.id = ?
                 UNION ALL
                 SELECT realm, client_id, NULL, client_name, 1, NULL, NULL, NULL FROM grants
                 WHERE realm = ? AND client_id = ? AND revoked_at IS NULL
             ) AS listed
             GROUP BY realm, id",
        );
        let select = select.bind(realm).bind(id).bind(realm).bind(id);
        Ok(select.fetch_optional(self.database.readers()).await?)
    }

    /// What people saw as the names of clients when they granted something; clients that were granted nothing have none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn client_names(&self, ids: &[&str]) -> Result<Vec<(String, String)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = QueryBuilder::new("SELECT client_id, MAX(client_name) FROM grants WHERE client_id IN ");
        select.push_tuple(ids.iter().map(|id| id.value()));
        select.push(" GROUP BY client_id");
        Ok(select.build_query_as().fetch_all(self.database.readers()).await?)
    }

    /// Grants in force, newest first, that come after a moment and an id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn grants_page(
        &self,
        selection: GrantSelection<'_>,
        after: Option<(Timestamp, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Owned<Grant>>, StoreError> {
        let mut select = QueryBuilder::new(
            "SELECT grants.*, users.name AS user_name FROM grants LEFT JOIN users ON users.id = grants.user_id
             WHERE revoked_at IS NULL",
        );
        if let Some(user) = selection.user {
            select.push(" AND grants.user_id = ").push_bind(user);
        }
        if let Some(client) = selection.client_id {
            select.push(" AND grants.client_id = ").push_bind(client);
        }
        if let Some((at, id)) = after {
            select.push(" AND (grants.created_at, grants.id) < (").push_bind(at);
            select.push(", ").push_bind(id).push(")");
        }
        select.push(" ORDER BY grants.created_at DESC, grants.id DESC LIMIT ").push_bind(limit);
        select.build_query_as().fetch_all(self.database.readers()).await.map_err(reading::<Grant>)
    }

    /// Connections whose id comes after `after`, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_page(
        &self,
        user: Option<UserId>,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Vec<Owned<Connection>>, StoreError> {
        let mut select = QueryBuilder::new(
            "SELECT connections.*, users.name AS user_name FROM connections
             LEFT JOIN users ON users.id = connections.user_id WHERE TRUE",
        );
        if let Some(user) = user {
            select.push(" AND connections.user_id = ").push_bind(user);
        }
        if let Some(after) = after {
            select.push(" AND connections.id > ").push_bind(after);
        }
        select.push(" ORDER BY connections.id LIMIT ").push_bind(limit);
        select.build_query_as().fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }
}

impl<'a> AuditSelection<'a> {
    /// Adds its conditions to those of a statement.
    pub(super) fn narrow(&self, select: &mut QueryBuilder<'a>) {
        if let Some(actor) = self.actor {
            select.push(" AND actor = ").push_bind(actor);
        }
        if let Some(action) = self.action {
            select.push(" AND action = ").push_bind(action);
        }
        if let Some(upstream) = self.upstream {
            select.push(" AND upstream = ").push_bind(upstream);
        }
        if let Some(client) = self.client {
            select.push(" AND client = ").push_bind(client);
        }
        if let Some(tool) = self.tool {
            select.push(" AND action IN ('tool.called', 'tool.refused') AND subject = ").push_bind(tool);
        }
        if let Some(since) = self.since {
            select.push(" AND at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            select.push(" AND at < ").push_bind(until);
        }
        if let Some(first) = self.first {
            select.push(" AND id >= ").push_bind(first);
        }
        if let Some(last) = self.last {
            select.push(" AND id <= ").push_bind(last);
        }
    }
}

impl<T: FromRow> FromRow for Owned<T> {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self { row: T::from_row(row)?, user_name: row.try_get("user_name")? })
    }
}

impl FromRow for NumberedEvent {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self { number: row.try_get("id")?, event: AuditEvent::from_row(row)? })
    }
}

impl FromRow for ListedClient {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            realm: row.try_get("realm")?,
            id: row.try_get("id")?,
            metadata: row.try_get("metadata")?,
            granted_name: row.try_get("granted_name")?,
            owner_name: row.try_get("owner_name")?,
            grants: row.try_get("grants")?,
            created_at: row.try_get("created_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}
