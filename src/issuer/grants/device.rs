//! `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 §3.4, §3.5): the device asks until the person has decided, and
//! gets its tokens once.

use super::refresh;
use crate::ids::Digest;
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::token::{Issue, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::grant_type::GrantType;
use crate::store::DeviceState;

/// Exchanges a device code. Unlike an authorization code it travels on one connection only, from us to the device, so that
/// a second use is a device that lost our answer: it is refused, and the grant goes on.
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    let (digest, now) = (Digest::of(request.form.require("device_code")?), issuer.clock.now());
    let row = issuer.store.device_code(&digest).await?.ok_or_else(unknown)?;
    if row.client_id != request.client.id || row.realm != request.realm.key() {
        return Err(unknown());
    }
    if row.expires_at <= now {
        return Err(Refused::because(Code::ExpiredToken, "the device code has expired: ask for a new one"));
    }
    let grant = match (row.state, row.grant) {
        (DeviceState::Waiting, _) => return Err(patience(issuer.store.poll_device_code(&digest, now).await?)),
        (DeviceState::Denied, _) => return Err(Refused::because(Code::AccessDenied, "the person refused")),
        (DeviceState::Approved, Some(grant)) => grant,
        (DeviceState::Approved | DeviceState::Used, _) => return Err(used()),
    };
    let living = issuer.living_grant(request, grant).await?;
    if !issuer.store.redeem_device_code(&digest, now).await? {
        return Err(used());
    }
    let refresh_token = match request.client.metadata.allows(GrantType::RefreshToken) {
        true => Some(refresh::first(issuer, request, grant).await?),
        false => None,
    };
    let scope = living.grant().scope.clone();
    Ok(Issue { living, scope, refresh_token, exchanged: None })
}

fn patience(is_in_time: bool) -> Refused {
    match is_in_time {
        true => Refused::because(Code::AuthorizationPending, "the person has not decided yet"),
        false => Refused::because(Code::SlowDown, "leave 5 seconds more between two requests"),
    }
}

fn unknown() -> Refused {
    Refused::because(Code::InvalidGrant, "the device code is unknown")
}

fn used() -> Refused {
    Refused::because(Code::InvalidGrant, "the device code was used before")
}
