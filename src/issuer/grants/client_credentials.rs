//! `client_credentials` (RFC 6749 §4.4): a machine client acts for its owner, within what an administrator gave it.

use super::refresh::narrowed;
use crate::hostname::Realm;
use crate::ids::{GrantId, UserId};
use crate::issuer::Issuer;
use crate::issuer::authorize::default_resource;
use crate::issuer::reply::Refused;
use crate::issuer::resource;
use crate::issuer::token::{Issue, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::scope::Scopes;
use crate::store::Grant;

/// How many resources one client may have grants for at a time.
const MOST_GRANTS: u32 = 64;

/// Issues a token for the owner of the client; never a refresh token (§4.4.3).
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    let client = request.client;
    let owner = client.owner.filter(|_| client.has_proved_itself).ok_or_else(|| {
        Refused::because(Code::UnauthorizedClient, "client_credentials is for clients that an administrator made")
    })?;
    let scope = scope(request)?;
    let grant = standing_grant(issuer, request, owner, requested_resource(issuer, request)?).await?;
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
    let default = default_resource(&origin, upstream.as_deref());
    Ok(resource::requested(request.form.get("resource"), &origin, default)?)
}

/// The grant that all tokens of the client for this resource belong to, so that they end together.
async fn standing_grant(
    issuer: &Issuer,
    request: &TokenRequest<'_>,
    owner: UserId,
    resource: String,
) -> Result<GrantId, Refused> {
    let refused = |why| Refused::because(Code::InvalidGrant, why);
    let person = issuer.store.user(owner).await?.filter(|user| !user.disabled);
    let person = person.ok_or_else(|| refused("the person for whom the client acts may not sign in any more"))?;
    if let Some(key) = issuer.connection_of(request.realm, owner)
        && issuer.connections.needs_consent(&key).await?
    {
        return Err(refused("the person for whom the client acts must connect the server first, at the dashboard"));
    }
    let new = Grant {
        id: GrantId::random(&issuer.random),
        user: owner,
        client_id: request.client.id.clone(),
        client_name: request.client.name().to_owned(),
        realm: request.realm.key(),
        resource,
        scope: request.client.metadata.scope.as_ref().map(Scopes::to_string).unwrap_or_default(),
        created_at: issuer.clock.now(),
        revoked_at: None,
    };
    let standing = issuer.store.standing_grant(&new, MOST_GRANTS).await?;
    let standing = standing.ok_or_else(|| {
        Refused::because(Code::InvalidTarget, "the client has tokens for too many resources: revoke some")
    })?;
    if standing == new.id {
        let subject = format!("{} at {} for {}", new.client_name, new.resource, person.name);
        issuer.audit.record(&new.client_id, "grant.created", &subject, None);
    }
    Ok(standing)
}
