//! Grant types: each validates what the client presents and says what is to be issued; `token` does the rest.

pub(super) mod client_credentials;
pub(super) mod code;
pub(super) mod device;
pub(super) mod exchange;
pub(super) mod jwt_bearer;
pub(super) mod refresh;
mod standing;

use super::token::TokenRequest;
use crate::hostname::Realm;
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};

/// What a machine client can have of scopes that come from elsewhere: those that an administrator gave it as well. Without
/// any it is limited at an MCP hostname by the person's connection there, and at the root has nothing.
fn within_its_own(request: &TokenRequest<'_>, scopes: &Scopes) -> Scopes {
    let scopes = scopes.without(OFFLINE_ACCESS);
    match (&request.client.metadata.scope, request.realm) {
        (Some(given), _) => scopes.intersection(given),
        (None, Realm::Mcp(_)) => scopes,
        (None, Realm::Root) => Scopes::default(),
    }
}
