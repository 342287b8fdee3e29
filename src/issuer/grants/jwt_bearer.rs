//! `jwt-bearer` with an identity assertion (RFC 7523, draft-ietf-oauth-identity-assertion-authz-grant; the Enterprise-Managed
//! Authorization of MCP): an identity provider that people sign in with here says that a client of ours may act for one of
//! them. It takes the place of the person's consent, and of nothing else: permissions and connections are asked for as ever.

use super::standing::{self, Standing};
use super::within_its_own;
use crate::clock::Timestamp;
use crate::hostname::Realm;
use crate::identity::providers::{IdentityAssertion, NotAsserted};
use crate::ids::Digest;
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::resource;
use crate::issuer::token::{Issue, TokenRequest};
use crate::oauth::error::{Code, OauthError};
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::store::User;
use serde_json::Value;
use std::time::Duration;

/// In the metadata (§7.2).
pub(in crate::issuer) const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// How far ahead an assertion may expire: it is remembered for that long.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// How far the provider's clock may be off.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Exchanges an identity assertion. There is no refresh token: the client asks the provider again, which may say no by then.
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    if !request.client.has_proved_itself {
        return Err(Refused::because(Code::UnauthorizedClient, "only a confidential client may present assertions"));
    }
    let assertion = issuer.providers.assertion(request.form.require("assertion")?).await.map_err(not_asserted)?;
    let us = issuer.site.issuer(request.realm);
    check(&assertion, &us, &request.client.id, issuer.clock.now()).map_err(wrong)?;
    if let Some(confirmation) = &assertion.cnf {
        let thumbprint = confirmation.get("jkt").and_then(Value::as_str);
        let thumbprint = thumbprint.ok_or_else(|| wrong("its cnf is of a kind that is not supported"))?;
        request.check_binding(issuer, Some(thumbprint))?;
    }
    let resource = resource_of(issuer, request, &assertion, &us)?;
    let scope = scope_of(&assertion, request)?;
    let user = person(issuer, request.realm, &assertion).await?;
    spend(issuer, &assertion).await?;
    let standing = Standing { person: &user, resource, scope: scope.clone(), asserted_by: Some(&assertion.iss) };
    let grant = standing::grant(issuer, request, standing).await?;
    let living = issuer.living_grant(request, grant).await?;
    Ok(Issue { living, scope, refresh_token: None, exchanged: None })
}

/// Whether it is meant for us and for this client, now (§4.4.1); else what is wrong with it.
fn check(assertion: &IdentityAssertion, us: &str, client: &str, now: Timestamp) -> Result<(), &'static str> {
    // Our issuer and nobody else's: whoever else it was meant for could present it here. Clients that handle issuers as URLs
    // let a slash follow a name without path.
    if !matches!(assertion.aud.as_slice(), [aud] if aud.strip_suffix('/').unwrap_or(aud) == us) {
        return Err("its aud is not this issuer alone");
    }
    if assertion.client_id != client {
        return Err("its client_id is another client");
    }
    if assertion.expires_at().after(CLOCK_SKEW) <= now {
        return Err("it has expired");
    }
    if assertion.expires_at() > now.after(LONGEST_LIFE) {
        return Err("it expires in more than an hour");
    }
    if assertion.holds_from() > now.after(CLOCK_SKEW) {
        return Err("it is not valid yet");
    }
    if assertion.jti.is_empty() {
        return Err("its jti is empty");
    }
    // People are known here by issuer and subject alone, and such a subject is unique within its tenant only (§6).
    if assertion.tenant.is_some() {
        return Err("its issuer has tenants, which is not supported");
    }
    Ok(())
}

/// The one resource of the assertion that is this realm's. Without any it is the one that the request names, or the usual
/// one; a request that names one must mean the same.
fn resource_of(
    issuer: &Issuer,
    request: &TokenRequest<'_>,
    assertion: &IdentityAssertion,
    us: &str,
) -> Result<String, Refused> {
    let named = request.form.get("resource");
    let Some(asserted) = &assertion.resource else {
        let upstream = match request.realm {
            Realm::Root => None,
            Realm::Mcp(label) => Some(issuer.registry.find(label).ok_or_else(|| wrong("its server is not known"))?),
        };
        return Ok(resource::requested(named, us, resource::default(us, upstream.as_deref()))?);
    };
    let ours = |text: &&String| resource::requested(Some(text.as_str()), us, String::new()).is_ok();
    let mut fitting = asserted.as_slice().iter().filter(ours);
    let fitting = match named {
        Some(named) => fitting.find(|text| resource::same(text, named)),
        None => fitting.next().filter(|_| asserted.as_slice().len() == 1),
    };
    fitting.cloned().ok_or_else(|| wrong("its resource is not the one that is asked for, or not on this hostname"))
}

/// What the assertion and the request both have; the assertion's where the request names none.
fn scope_of(assertion: &IdentityAssertion, request: &TokenRequest<'_>) -> Result<String, Refused> {
    let bad = || Refused::because(Code::InvalidScope, "no scope that was asked for is in the assertion");
    let asserted = Scopes::parse(assertion.scope.as_deref().unwrap_or_default())
        .map_err(|_| wrong("its scope has characters that no scope may have"))?;
    let most = within_its_own(request, &asserted);
    let Some(asked) = request.form.get("scope") else { return Ok(most.to_string()) };
    let asked = Scopes::parse(asked).map_err(|_| bad())?.without(OFFLINE_ACCESS);
    let both = asked.intersection(&most);
    if both.is_empty() && !asked.is_empty() { Err(bad()) } else { Ok(both.to_string()) }
}

/// Whom the provider means: somebody who has signed in with it here. Names and addresses of e-mail say nothing.
async fn person(issuer: &Issuer, realm: &Realm, assertion: &IdentityAssertion) -> Result<User, Refused> {
    let unknown = || wrong("nobody has signed in to this gateway as the person whom it is about");
    let identity = issuer.store.identity(&assertion.iss, &assertion.sub).await?.ok_or_else(unknown)?;
    let user = issuer.store.user(identity.user).await?.filter(|user| !user.disabled).ok_or_else(unknown)?;
    if let Some(key) = issuer.connection_of(realm, user.id)
        && issuer.connections.needs_consent(&key).await?
    {
        return Err(wrong("the person must connect the server first, at the dashboard of this gateway"));
    }
    Ok(user)
}

/// Every assertion works once, after all that could be wrong with it.
async fn spend(issuer: &Issuer, assertion: &IdentityAssertion) -> Result<(), Refused> {
    let name = Digest::of(format!("identity assertion\n{}\n{}", assertion.iss, assertion.jti));
    match issuer.store.use_once(&name, assertion.expires_at().after(CLOCK_SKEW)).await? {
        true => Ok(()),
        false => Err(wrong("it was used before")),
    }
}

fn not_asserted(why: NotAsserted) -> Refused {
    match why {
        NotAsserted::Untrusted(why) => wrong(&why),
        NotAsserted::Unavailable(fault) => {
            tracing::warn!(error = %fault, "an identity assertion cannot be verified");
            let description = "the keys of the identity provider cannot be had at the moment";
            Refused::because(Code::TemporarilyUnavailable, description)
        }
    }
}

fn wrong(why: &str) -> Refused {
    Refused::new(OauthError::new(Code::InvalidGrant, format!("the assertion is not accepted: {why}")))
}
