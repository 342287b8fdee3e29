//! What administrators do, once for every way of doing it: the command line, the dashboard and the API call these
//! functions, which change the database and memory and note in the audit log who did it.

mod api_keys;
mod clients;
mod connections;
mod grants;
mod log;
mod machines;
mod paging;
mod people;
mod permissions;
mod personal;
mod queue;
pub mod records;
mod services;
mod sessions;
mod signing_keys;
mod tools;
mod upstreams;

pub use grants::GrantFilter;
pub use log::AuditFilter;
pub use paging::{Page, PageRequest};
pub use permissions::Change;
pub use personal::{AccountChoice, CredentialChoice};
pub use services::ServiceConnectionFilter;
pub use signing_keys::Signing;

use crate::apikey::{ApiKey, ApiKeys};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::connect::{PersonalCredentials, ServiceTable};
use crate::error::{Culprit, Fault};
use crate::identity::Identity;
use crate::ids::{Random, UserId};
use crate::revocation::Revocations;
use crate::services::Pats;
use crate::session::Sessions;
use crate::store::{Store, StoreError, User};
use crate::upstream::Registry;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that administration works with. Shared behind an `Arc`.
pub struct Administration {
    /// Rows.
    pub store: Store,
    /// People and passwords.
    pub identity: Arc<Identity>,
    /// Ends what is taken back.
    pub revocations: Arc<Revocations>,
    /// Upstreams, configured and decided.
    pub registry: Arc<Registry>,
    /// Signed-in browsers.
    pub sessions: Arc<Sessions>,
    /// Services of the token broker.
    pub services: Arc<ServiceTable>,
    /// People's personal access tokens at them; `None` where nobody asked for the key of the vault.
    pub pats: Option<Pats>,
    /// What people give upstreams by hand; `None` where nobody asked for the key of the vault.
    pub personal: Option<PersonalCredentials>,
    /// Keys of programs.
    pub api_keys: Arc<ApiKeys>,
    /// What new signing keys are made with; `None` where nobody asked for the key of the vault.
    pub signing: Option<Signing>,
    /// Who did what.
    pub audit: Audit,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
}

/// Who does something, for the audit log.
#[derive(Clone, Debug)]
pub struct Actor {
    name: String,
    user: Option<UserId>,
    address: Option<IpAddr>,
}

impl Actor {
    /// Whoever may run commands on this machine.
    pub fn system() -> Self {
        Self { name: "system".to_owned(), user: None, address: None }
    }

    /// A person, from an address.
    pub fn person(user: &User, address: IpAddr) -> Self {
        Self { name: user.name.clone(), user: Some(user.id), address: Some(address) }
    }

    /// A program with an API key, from an address.
    pub fn key(key: &ApiKey, address: IpAddr) -> Self {
        Self { name: key.actor(), user: None, address: Some(address) }
    }
}

/// Why something was not done. The texts name the fix.
#[derive(Debug)]
pub enum Refused {
    /// There is no such thing.
    NotFound(String),
    /// Something else stands in the way.
    Conflict(String),
    /// A value does not do.
    Invalid(String),
    /// We ourselves failed.
    Failed(Fault),
}

impl Refused {
    fn no(what: &str, id: impl std::fmt::Display) -> Self {
        Self::NotFound(format!("there is no {what} {id}: the list of {what}s shows all"))
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault.culprit {
            Culprit::Caller => Self::Invalid(fault.public.into_owned()),
            _ => Self::Failed(fault),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) | StoreError::LastAdministrator => Self::Conflict(error.to_string()),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(text) | Refused::Conflict(text) | Refused::Invalid(text) => Fault::caller(text),
            Refused::Failed(fault) => fault,
        }
    }
}

impl Administration {
    /// A person by id.
    async fn somebody(&self, id: &str) -> Result<User, Refused> {
        let missing = || Refused::no("user", id);
        self.store.user(id.parse().map_err(|_| missing())?).await?.ok_or_else(missing)
    }

    fn record(&self, actor: &Actor, action: &'static str, subject: &str) {
        self.audit.record(&actor.name, action, subject, actor.address);
    }
}
