//! Who a `client_id` is: a registered client of the realm, or the URL of a client ID metadata document.

use super::Issuer;
use super::documents::{self, DocumentUrl};
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::{Digest, UserId};
use crate::oauth::registration::ClientMetadata;

/// A client that we know.
pub(super) struct KnownClient {
    pub(super) id: String,
    pub(super) metadata: ClientMetadata,
    /// Digest of its secret; none for a public client.
    pub(super) secret: Option<Digest>,
    /// Where its metadata document lives: proof that whoever runs that host runs the client.
    pub(super) verified_host: Option<String>,
    /// Whether this very request came with a secret or a signature of the client's.
    pub(super) has_proved_itself: bool,
    /// Whom it acts for, of a client that an administrator made.
    pub(super) owner: Option<UserId>,
}

/// Why there is no such client.
#[derive(Debug)]
pub(super) enum NoClient {
    /// Nobody registered under that id here.
    Unknown,
    /// It has registered longer ago than registrations live.
    Expired,
    /// The metadata document is wrong, for good.
    Document(String),
    /// The metadata document cannot be had at the moment.
    Unreachable(String),
    /// We ourselves are in trouble.
    Failed(Fault),
}

impl KnownClient {
    /// The name for people.
    pub(super) fn name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or("An unnamed application")
    }
}

impl Issuer {
    /// Finds a client of a realm.
    pub(super) async fn client(&self, realm: &Realm, id: &str) -> Result<KnownClient, NoClient> {
        if id.starts_with("https://") || id.starts_with("http://") {
            let url = DocumentUrl::parse(id, self.allow_private_documents).map_err(NoClient::Document)?;
            let metadata = documents::find(self, &url).await?;
            return Ok(KnownClient {
                id: id.to_owned(),
                metadata,
                secret: None,
                verified_host: Some(url.host()),
                has_proved_itself: false,
                owner: None,
            });
        }
        let row = self.store.client(&realm.key(), id).await.map_err(|error| NoClient::Failed(error.into()))?;
        let row = row.ok_or(NoClient::Unknown)?;
        if row.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(NoClient::Expired);
        }
        let metadata = ClientMetadata::from_stored(row.metadata.as_bytes()).map_err(|error| {
            NoClient::Failed(Fault::gateway(format_args!("client {id}: {}", error.error_description)))
        })?;
        Ok(KnownClient {
            id: row.id,
            metadata,
            secret: row.secret,
            verified_host: None,
            has_proved_itself: false,
            owner: row.owner,
        })
    }
}
