//! OAuth clients: those that registered, and those that are known by what people granted to them.

use super::paging::{Page, PageRequest, cursor};
use super::records::{Client, Moment};
use super::{Actor, Administration, Refused};
use crate::store::ListedClient;

/// How the root domain's realm is written; no label can be this.
const ROOT: &str = "-";

impl Administration {
    /// Clients, by realm and id.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn clients(&self, page: &PageRequest) -> Result<Page<Client>, Refused> {
        let (limit, after) = (page.limit()?, page.after::<2>()?);
        let after = after.as_ref().map(|[realm, id]| (realm.as_str(), id.as_str()));
        let clients = self.store.clients_page(after, limit + 1).await?;
        Ok(Page::of(clients, limit, |client| cursor(&[&client.realm, &client.id])).map(Client::from))
    }

    /// One client at one realm, `-` for the root domain.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn client(&self, realm: &str, id: &str) -> Result<Client, Refused> {
        let found = self.store.listed_client(key_of(realm), id).await?;
        found.map(Client::from).ok_or_else(|| Refused::no("client", id))
    }

    /// Deletes a client at one realm, or everywhere, and ends what people granted to it; how many grants that were.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn delete_client(&self, actor: &Actor, realm: Option<&str>, id: &str) -> Result<usize, Refused> {
        let place = realm.map_or(String::new(), |realm| format!(" at {realm}"));
        let ended = self.revocations.client(realm.map(key_of), id).await?;
        let ended = ended.ok_or_else(|| Refused::no("client", format!("{id}{place}")))?;
        self.record(actor, "client.revoked", &format!("{id}{place}"));
        Ok(ended)
    }
}

/// How the store writes a realm.
fn key_of(realm: &str) -> &str {
    if realm == ROOT { "" } else { realm }
}

/// How people write a realm.
pub(super) fn realm_of(key: String) -> String {
    if key.is_empty() { ROOT.to_owned() } else { key }
}

impl From<ListedClient> for Client {
    fn from(client: ListedClient) -> Self {
        let metadata: serde_json::Value =
            client.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Self {
            realm: realm_of(client.realm),
            id: client.id,
            name: metadata["client_name"].as_str().map(str::to_owned).or(client.granted_name),
            owner: client.owner_name,
            grants: client.grants,
            created_at: client.created_at.map(Moment),
            last_used_at: client.last_used_at.map(Moment),
        }
    }
}
