//! `client_credentials` (RFC 6749 §4.4): a machine client acts for its owner, within what an administrator gave it.

use super::refresh::narrowed;
use super::standing::{self, Standing};
use crate::hostname::Realm;
use crate::ids::UserId;
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::resource;
use crate::issuer::token::{Issue, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::scope::Scopes;
use crate::store::User;

/// Issues a token for the owner of the client; never a refresh token (§4.4.3).
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    let client = request.client;
    let id = client.owner.filter(|_| client.has_proved_itself).ok_or_else(|| {
        Refused::because(Code::UnauthorizedClient, "client_credentials is for clients that an administrator made")
    })?;
    let scope = scope(request)?;
    let resource = requested_resource(issuer, request)?;
    let person = owner(issuer, request, id).await?;
    let given = client.metadata.scope.as_ref().map(Scopes::to_string).unwrap_or_default();
    let standing = Standing { person: &person, resource, scope: given, asserted_by: None };
    let grant = standing::grant(issuer, request, standing).await?;
    let living = issuer.living_grant(request, grant).await?;
    Ok(Issue { living, scope, refresh_token: None, exchanged: None })
}

/// What was asked for, if it is within what was given. A client that was given nothing in particular is limited at an MCP
/// hostname by its owner's connection there, and at the root has nothing.
fn scope(request: &TokenRequest<'_>) -> Result<String, Refused> {
    let asked = request.form.get("scope");
    match (&request.client.metadata.scope, request.realm) {
        (Some(given), _) => narrowed(asked, &given.to_string()),
        (None, Realm::Root) => narrowed(asked, ""),
        (None, Realm::Mcp(_)) => match Scopes::parse(asked.unwrap_or_default()) {
            Ok(scopes) => Ok(scopes.to_string()),
            Err(_) => Err(Refused::because(Code::InvalidScope, "scope has characters that no scope may have")),
        },
    }
}

fn requested_resource(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<String, Refused> {
    let origin = issuer.site.issuer(request.realm);
    let upstream = match request.realm {
        Realm::Root => None,
        Realm::Mcp(label) => {
            let gone = || Refused::because(Code::InvalidTarget, "there is no such server here");
            Some(issuer.registry.find(label).ok_or_else(gone)?)
        }
    };
    let default = resource::default(&origin, upstream.as_deref());
    Ok(resource::requested(request.form.get("resource"), &origin, default)?)
}

/// The person for whom the client acts, if that can work: nobody will be asked to sign in or to connect the server.
async fn owner(issuer: &Issuer, request: &TokenRequest<'_>, id: UserId) -> Result<User, Refused> {
    let refused = |why| Refused::because(Code::InvalidGrant, why);
    let person = issuer.store.user(id).await?.filter(|user| !user.disabled);
    let person = person.ok_or_else(|| refused("the person for whom the client acts may not sign in any more"))?;
    match issuer.connection_of(request.realm, id) {
        Some(key) if issuer.connections.needs_consent(&key).await? => {
            Err(refused("the person for whom the client acts must connect the server first, at the dashboard"))
        }
        _ => Ok(person),
    }
}
