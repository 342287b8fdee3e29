//! People's authorizations at upstreams.

use super::paging::{Page, PageRequest, cursor, foreign_cursor};
use super::records::{Connection, Moment};
use super::{Actor, Administration, Refused};
use crate::ids::ConnectionId;
use crate::store::{self, Owned};

impl Administration {
    /// Connections, in a stable order; with the id of a person only that person's.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn connections(&self, user: Option<&str>, page: &PageRequest) -> Result<Page<Connection>, Refused> {
        let (limit, after) = (page.limit()?, page.after::<1>()?);
        let after = after.map(|[id]| id.parse().map_err(|_| foreign_cursor())).transpose()?;
        let Ok(user) = user.map(str::parse).transpose() else {
            return Ok(Page::whole(Vec::new())); // nobody has such an id, and so no connection
        };
        let connections = self.store.connections_page(user, after, limit + 1).await?;
        Ok(Page::of(connections, limit, |one| cursor(&[&one.row.id.to_string()])).map(Connection::from))
    }

    /// Deletes a connection with its tokens; what is open with them ends.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn delete_connection(&self, actor: &Actor, id: &str) -> Result<(), Refused> {
        let missing = || Refused::no("connection", id);
        let parsed: ConnectionId = id.parse().map_err(|_| missing())?;
        let connection = self.store.connection_by_id(parsed).await?.ok_or_else(missing)?;
        if !self.revocations.connection(parsed).await? {
            return Err(missing());
        }
        self.record(actor, "connection.revoked", &format!("{id} at {}", connection.authority));
        Ok(())
    }
}

impl From<Owned<store::Connection>> for Connection {
    fn from(Owned { row: connection, user_name }: Owned<store::Connection>) -> Self {
        Self {
            id: connection.id.to_string(),
            user_id: connection.user.to_string(),
            user: user_name,
            domain: connection.authority,
            account: connection.account,
            state: connection.state.into(),
            scope: connection.scope,
            personal: connection
                .personal
                .map(|names| names.split(' ').map(str::to_owned).collect())
                .unwrap_or_default(),
            expires_at: connection.expires_at.map(Moment),
            last_error: connection.last_error,
            created_at: Moment(connection.created_at),
        }
    }
}
