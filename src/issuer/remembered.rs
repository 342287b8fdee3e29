//! Consents that people do not want to give again. Only somebody who ticks a box is not asked again: a consent that is
//! remembered unasked would let whoever takes over a client's redirect in with one click on a link.
//!
//! It holds for the person, the client, the resource, the host of the redirect URI, and at most the scopes that were shown;
//! never for programs on a computer or a phone, which anybody can imitate (RFC 8252 §8.6), never for devices (RFC 8628
//! §5.4) and never for the admin API. It skips the page that asks, and nothing else.

use super::Issuer;
use super::clients::KnownClient;
use super::parameters::Parameters;
use super::pending::PendingAuthorization;
use crate::error::Fault;
use crate::oauth::redirect::RedirectUri;
use crate::oauth::scope::Scopes;
use crate::store::{RememberedConsent, User};
use http::HeaderMap;
use std::net::IpAddr;
use std::time::Duration;

/// Without being relied upon.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The host under which the consent to a request may be remembered; `None` when the person is to be asked each time. The
/// name of a client with a metadata document is no secret, so that any page can send a browser here in its name: such a
/// request has to be the person's own (`Sec-Fetch-Site: none`, Fetch Metadata §2.3).
pub(super) fn host(
    parameters: &Parameters,
    (client, redirect): (&KnownClient, &RedirectUri),
    headers: &HeaderMap,
) -> Option<String> {
    let by_person = headers.get("sec-fetch-site").is_some_and(|site| site == "none");
    let asks = parameters.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|one| one == "consent"));
    redirect.web_host().filter(|_| !asks && (client.verified_host.is_none() || by_person))
}

/// The remembered consent that a request can rely upon.
pub(super) async fn find(
    issuer: &Issuer,
    pending: &PendingAuthorization,
    user: &User,
) -> Result<Option<RememberedConsent>, Fault> {
    let Some(host) = pending.memorable.as_deref().filter(|_| !pending.wants_administration()) else { return Ok(None) };
    let client = (pending.realm.as_str(), pending.client_id.as_str());
    let remembered = issuer.store.remembered_consents(user.id, client, issuer.clock.now()).await?;
    let fits = |consent: &RememberedConsent| {
        consent.redirect_host == host
            && consent.resource == pending.resource
            && is_within(&pending.scope, &consent.scope)
    };
    Ok(remembered.into_iter().find(fits))
}

/// Remembers what the person at that address has just agreed to.
pub(super) async fn keep(
    issuer: &Issuer,
    pending: &PendingAuthorization,
    (user, address): (&User, IpAddr),
) -> Result<(), Fault> {
    let Some(host) = pending.memorable.clone().filter(|_| !pending.wants_administration()) else { return Ok(()) };
    let consent = RememberedConsent {
        user: user.id,
        realm: pending.realm.clone(),
        client_id: pending.client_id.clone(),
        resource: pending.resource.clone(),
        redirect_host: host,
        scope: pending.scope.clone(),
        expires_at: issuer.clock.now().after(LIFE),
    };
    issuer.store.remember_consent(&consent).await?;
    let subject = format!("{} at {}", pending.client_name, pending.resource);
    issuer.audit.record(&user.name, "consent.remembered", &subject, Some(address));
    Ok(())
}

/// Keeps a consent that was relied upon for longer.
pub(super) async fn prolong(issuer: &Issuer, consent: &RememberedConsent) -> Result<(), Fault> {
    Ok(issuer.store.prolong_consent(consent, issuer.clock.now().after(LIFE)).await?)
}

/// Whether one scope asks for no more than the other: no scope at all stands for everything.
fn is_within(asked: &str, agreed: &str) -> bool {
    let (asked, agreed) = (Scopes::lenient(asked.split(' ')), Scopes::lenient(agreed.split(' ')));
    asked.is_subset(&agreed) && asked.is_empty() == agreed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn no_scope_is_more_than_any() {
        for (asked, agreed, within) in [
            ("a", "a b", true),
            ("b a", "a b", true),
            ("a c", "a b", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(is_within(asked, agreed), within, "{asked:?} {agreed:?}");
        }
    }
}
