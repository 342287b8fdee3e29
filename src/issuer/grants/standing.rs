//! The grants of clients that no person lets in with a browser: one for each client, person and resource, however often the
//! client asks, so that its tokens end together and do not fill the table.

use crate::ids::GrantId;
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::token::TokenRequest;
use crate::oauth::error::Code;
use crate::store::{Grant, User};

/// For how many resources of one person a client may have grants at a time.
const MOST: u32 = 64;

/// What a client may do for a person because somebody else said so.
pub(super) struct Standing<'a> {
    pub(super) person: &'a User,
    pub(super) resource: String,
    /// Space-separated; recorded with the grant.
    pub(super) scope: String,
    /// The identity provider that said so; without one it was an administrator.
    pub(super) asserted_by: Option<&'a str>,
}

/// The grant that there is, or a new one.
///
/// # Errors
/// `invalid_target` when the client has too many.
pub(super) async fn grant(
    issuer: &Issuer,
    request: &TokenRequest<'_>,
    standing: Standing<'_>,
) -> Result<GrantId, Refused> {
    let Standing { person, resource, scope, asserted_by } = standing;
    let new = Grant {
        id: GrantId::random(&issuer.random),
        user: person.id,
        client_id: request.client.id.clone(),
        client_name: request.client.name().to_owned(),
        realm: request.realm.key(),
        resource,
        scope,
        created_at: issuer.clock.now(),
        revoked_at: None,
    };
    let known = issuer.store.standing_grant(&new, MOST).await?.ok_or_else(|| {
        Refused::because(Code::InvalidTarget, "the client has tokens for too many resources: revoke some")
    })?;
    if known == new.id {
        let by = asserted_by.map(|provider| format!(", asserted by {provider}")).unwrap_or_default();
        let subject = format!("{} at {} for {}{by}", new.client_name, new.resource, person.name);
        issuer.audit.record(&new.client_id, "grant.created", &subject, Some(request.address));
    }
    Ok(known)
}
