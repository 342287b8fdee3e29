//! Personal access tokens, one per person and service, sealed. The command line uses this beside a running gateway.

use crate::clock::{Clock, Timestamp};
use crate::config::ServiceName;
use crate::error::Fault;
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::{ServicePat, Store};
use crate::vault::{Place, Vault};
use http::HeaderValue;

/// The longest PAT, in bytes; what is longer fits no header.
const LONGEST: usize = 4096;

/// The personal access tokens of all people.
#[derive(Clone)]
pub struct Pats {
    store: Store,
    vault: Vault,
    clock: Clock,
}

/// That there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pat {
    /// For which service. It may have been taken out of the configuration since.
    pub service: ServiceName,
    /// When it was left here.
    pub created_at: Timestamp,
}

impl Pats {
    /// Of this store and this vault.
    pub fn new(store: Store, vault: Vault, clock: Clock) -> Self {
        Self { store, vault, clock }
    }

    /// Keeps a person's PAT, in place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be sent in a header; when the store fails.
    pub async fn put(&self, service: &ServiceName, user: UserId, pat: &Secret) -> Result<(), Fault> {
        let text = pat.expose().trim();
        let fit = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_whitespace);
        if !fit || HeaderValue::from_str(text).is_err() {
            let why = format!("a personal access token has 1 to {LONGEST} printable characters and no spaces");
            return Err(Fault::caller(why));
        }
        let person = user.to_string();
        let sealed = self.vault.seal(&place(&row(&person, service), &person, service), text.as_bytes());
        let created_at = self.clock.now();
        let pat = ServicePat { user, service: service.as_str().to_owned(), sealed, created_at };
        Ok(self.store.put_service_pat(&pat).await?)
    }

    /// Forgets a person's PAT; `false` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, service: &ServiceName, user: UserId) -> Result<bool, Fault> {
        Ok(self.store.delete_service_pat(user, service.as_str()).await?)
    }

    /// The PATs that a person has left here, by service; never the tokens themselves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, user: UserId) -> Result<Vec<Pat>, Fault> {
        let rows = self.store.service_pats(user).await?;
        let known =
            |row: ServicePat| Some(Pat { service: ServiceName::parse(&row.service).ok()?, created_at: row.created_at });
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// A person's PAT itself.
    ///
    /// # Errors
    /// When the store fails, or the row was tampered with.
    pub(super) async fn open(&self, service: &ServiceName, user: UserId) -> Result<Option<Secret>, Fault> {
        let Some(pat) = self.store.service_pat(user, service.as_str()).await? else { return Ok(None) };
        let person = user.to_string();
        let opened = self.vault.open(&place(&row(&person, service), &person, service), &pat.sealed);
        let opened = opened.map_err(|error| Fault::gateway(format!("a personal access token: {error}")))?;
        let text = std::str::from_utf8(&opened).map_err(|_| Fault::gateway("a personal access token is damaged"))?;
        Ok(Some(Secret::new(text.to_owned())))
    }
}

fn row(person: &str, service: &ServiceName) -> String {
    format!("{person}/{}", service.as_str())
}

fn place<'a>(row: &'a str, person: &'a str, service: &'a ServiceName) -> Place<'a> {
    Place { table: "service_pats", row, column: "sealed", person, upstream: service.as_stored() }
}
