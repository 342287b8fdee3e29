//! What people granted to clients.

use super::clients::realm_of;
use super::paging::{Page, PageRequest, cursor, foreign_cursor};
use super::records::{Grant, Moment};
use super::{Actor, Administration, Refused};
use crate::clock::Timestamp;
use crate::ids::GrantId;
use crate::store::{self, GrantSelection, Owned};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Which grants.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct GrantFilter {
    /// Only those of the person with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Only those to this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

impl Administration {
    /// Grants in force, newest first.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn grants(&self, filter: &GrantFilter, page: &PageRequest) -> Result<Page<Grant>, Refused> {
        let (limit, after) = (page.limit()?, page.after::<2>()?);
        let after = after.map(|[at, id]| place(&at, &id).ok_or_else(foreign_cursor)).transpose()?;
        let Ok(user) = filter.user_id.as_deref().map(str::parse).transpose() else {
            return Ok(Page::whole(Vec::new())); // nobody has such an id, and so no grant
        };
        let selection = GrantSelection { user, client_id: filter.client_id.as_deref() };
        let grants = self.store.grants_page(selection, after, limit + 1).await?;
        let place = |grant: &Owned<store::Grant>| {
            cursor(&[&grant.row.created_at.seconds().to_string(), &grant.row.id.to_string()])
        };
        Ok(Page::of(grants, limit, place).map(Grant::from))
    }

    /// Ends a grant with its tokens and open streams.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is none that is in force.
    pub async fn revoke_grant(&self, actor: &Actor, id: &str) -> Result<(), Refused> {
        let missing = || Refused::no("grant", id);
        let parsed: GrantId = id.parse().map_err(|_| missing())?;
        let grant = self.store.grant(parsed).await?.ok_or_else(missing)?;
        if !self.revocations.grant(parsed).await? {
            return Err(missing());
        }
        self.record(actor, "grant.revoked", &format!("{} at {}", grant.client_name, grant.resource));
        Ok(())
    }
}

fn place(at: &str, id: &str) -> Option<(Timestamp, GrantId)> {
    Some((Timestamp(at.parse().ok()?), id.parse().ok()?))
}

impl From<Owned<store::Grant>> for Grant {
    fn from(Owned { row: grant, user_name }: Owned<store::Grant>) -> Self {
        Self {
            id: grant.id.to_string(),
            user_id: grant.user.to_string(),
            user: user_name,
            client_id: grant.client_id,
            client_name: grant.client_name,
            realm: realm_of(grant.realm),
            resource: grant.resource,
            scope: grant.scope,
            created_at: Moment(grant.created_at),
        }
    }
}
