//! What listings show: one type for each, whoever asks and however it is shown. Nothing in them is secret.

mod access;
mod conversions;
mod people;
mod programs;
mod servers;
mod services;

pub use access::{Asked, Group, ToolRules};
pub use people::{Ended, FactorsReset, NewUser, Role, Session, SignOut, SignedOut, User, UserChange};
pub use programs::{ApiKey, ApiScope, Client, CreatedApiKey, CreatedClient, Grant, MachineGrant, NewApiKey, NewClient};
pub use servers::{
    Connection, ConnectionState, Decision, Member, NewCredentials, Permission, Standing, Upstream, UpstreamDecision,
};
pub use services::{NewServicePat, Service, ServiceConnection, ServicePat};

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A point in time, RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
pub struct Moment(pub Timestamp);

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.0.to_rfc3339()
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Timestamp::from_rfc3339(&text).map(Self).ok_or("not a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    }
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// When.
    pub at: Moment,
    /// Who: a user name, a client id, `apikey:NAME`, or `system`.
    pub actor: String,
    /// What, as `noun.verb`.
    pub action: String,
    /// About what.
    pub subject: String,
    /// From which address, when there was a request.
    pub address: Option<String>,
    /// The domain of the upstream, of a request to one.
    pub upstream: Option<String>,
    /// The id of the client that sent it.
    pub client: Option<String>,
    /// The HTTP status of its answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
}

/// A key that signs access tokens, without its private half.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// The JWK's `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// What it does now.
    pub state: KeyState,
    /// When it was made, and put into the key set.
    pub published_at: Moment,
    /// From when on it signs, until the next one does.
    pub signs_from: Moment,
    /// Until when what it signed is believed, once that is known.
    pub verifies_until: Option<Moment>,
}

/// What a signing key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is in the key set and waits until it signs.
    Published,
    /// It signs.
    Signing,
    /// It signs no more; what it signed is believed.
    Verifying,
    /// Nothing that it signed is alive: it will be removed.
    Spent,
}

/// What a signing key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// A signing key to be.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewSigningKey {
    /// What it signs with; without one, what the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// After a leak: it signs at once, and whatever other keys signed is refused.
    pub at_once: bool,
}
