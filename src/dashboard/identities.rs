//! `/account/identities`: who a person is at providers, and linking and unlinking.

use super::failure::{Failure, see_other};
use super::providers::failed;
use super::{Dashboard, rows};
use crate::identity::Linking;
use crate::identity::providers::{Profile, Purpose, SignInError};
use crate::ids::UserId;
use crate::page::{self, Account, IdentitiesPage, IdentityRow};
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::store::{LinkedIdentity, Unlinked};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

const PAGE: &str = "/account/identities";

/// What a redirect says to the page: one of our own sentences, by its name.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    told: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LinkForm {
    provider: String,
    csrf_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UnlinkForm {
    issuer: String,
    subject: String,
    csrf_token: String,
}

/// `GET /account/identities`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(Told { told }): Query<Told>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, PAGE).await?;
    dashboard.identities(&person, notice(&told).map(str::to_owned)).await
}

/// `POST /account/identities/link`
pub(super) async fn link(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<LinkForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    dashboard.limits.check_departure(arrival.client)?;
    let purpose = Purpose::Link(person.user.id);
    match dashboard.providers.begin(&sent.provider, person.session, purpose, PAGE).await {
        Ok(address) => Ok(see_other(&address)),
        Err(error) => dashboard.not_linked(&headers, &error).await,
    }
}

/// `POST /account/identities/unlink`
pub(super) async fn unlink(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<UnlinkForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let usable: Vec<&str> = dashboard.providers.names().map(|(name, _)| name).collect();
    let key = (sent.issuer.as_str(), sent.subject.as_str());
    match dashboard.identity.unlink(person.user.id, key, &usable, dashboard.passwords).await? {
        Unlinked::Done => {
            let subject = format!("{} at {}", sent.subject, sent.issuer);
            dashboard.audit.record(&person.user.name, "identity.unlinked", &subject, Some(arrival.client));
            Ok(told("unlinked"))
        }
        Unlinked::LastWayIn => Ok(told("last")),
        Unlinked::Unknown => Err(Failure::NotFound),
    }
}

impl Dashboard {
    /// Somebody who is signed in came back from a provider.
    pub(super) async fn linked(
        &self,
        arrival: &Arrival,
        user: UserId,
        profile: &Profile,
    ) -> Result<Response, Failure> {
        let linking = self.identity.link(user, profile).await?;
        if linking == Linking::Linked {
            let name = self.store.user(user).await?.map(|user| user.name).unwrap_or_default();
            let subject = format!("{} ({}) at {}", profile.subject, profile.name, profile.issuer);
            self.audit.record(&name, "identity.linked", &subject, Some(arrival.client));
        }
        Ok(told(match linking {
            Linking::Linked => "linked",
            Linking::AlreadyYours => "yours",
            Linking::Taken => "taken",
        }))
    }

    /// The page again, saying why nothing was linked.
    pub(super) async fn not_linked(&self, headers: &HeaderMap, error: &SignInError) -> Result<Response, Failure> {
        let notice = match error {
            SignInError::NoSuchProvider => return Err(Failure::NotFound),
            SignInError::Declined => return Ok(told("declined")),
            SignInError::Refused { public, .. } => public.clone(),
            SignInError::Failed(fault) => return Ok(failed(fault, PAGE)),
        };
        let person = self.person(headers, PAGE).await?;
        self.identities(&person, Some(notice)).await
    }

    async fn identities(&self, person: &SignedIn, notice: Option<String>) -> Result<Response, Failure> {
        let now = self.clock.now();
        let identities = self.store.identities_of(person.user.id).await?;
        let label = |identity: &LinkedIdentity| {
            let known = self.providers.names().find(|(name, _)| *name == identity.provider);
            known.map_or_else(|| identity.issuer.clone(), |(_, label)| label.to_owned())
        };
        let rows = identities.iter().map(|identity| IdentityRow {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            provider: label(identity),
            name: &identity.name,
            email: identity.email.clone(),
            used: rows::ago(identity.last_used_at, now),
        });
        Ok(page::identities(&IdentitiesPage {
            account: Account { name: &person.user.name, csrf_token: &person.csrf_token },
            notice,
            identities: rows.collect(),
            providers: self.providers.names().collect(),
        }))
    }
}

fn told(what: &str) -> Response {
    see_other(&format!("{PAGE}?told={what}"))
}

fn notice(told: &str) -> Option<&'static str> {
    Some(match told {
        "linked" => "The identity is linked: you can sign in with it from now on.",
        "yours" => "That identity was linked to your account before.",
        "taken" => "That identity belongs to another account of this gateway. Unlink it there first.",
        "unlinked" => "The identity is unlinked.",
        "last" => "That is your only way to sign in, so it stays. Link another one first.",
        "declined" => "You did not sign in there, so nothing was linked.",
        _ => return None,
    })
}
