//! Who a person is at providers: linking and unlinking.

use super::ACCOUNT;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::Sent;
use crate::identity::Linking;
use crate::identity::providers::{Profile, Purpose, SignInError};
use crate::page::{IdentitiesSection, IdentityRow, Moment};
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::store::{LinkedIdentity, Unlinked};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

const TAKEN: &str = "That identity belongs to another account of this gateway. Unlink it there first.";
const LAST: &str = "That is your only way to sign in, so it stays. Link another one first.";
const DECLINED: &str = "You did not sign in there, so nothing was linked.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct LinkForm {
    provider: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct UnlinkForm {
    issuer: String,
    subject: String,
}

/// `POST /account/identities/link`
pub(in crate::dashboard) async fn link(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<LinkForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    dashboard.limits.check_nameless_login(sent.client)?;
    let purpose = Purpose::Link(sent.person.user.id);
    match dashboard.providers.begin(&sent.form.provider, sent.person.session, purpose, ACCOUNT).await {
        Ok(address) => Ok(see_other(&address)),
        Err(error) => dashboard.not_linked(&sent.person, &error).await,
    }
}

/// `POST /account/identities/unlink`
pub(in crate::dashboard) async fn unlink(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<UnlinkForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let usable: Vec<&str> = dashboard.providers.names().map(|(name, _)| name).collect();
    let key = (sent.form.issuer.as_str(), sent.form.subject.as_str());
    let provider = dashboard.store.identity(key.0, key.1).await?.map(|identity| identity.provider);
    match dashboard.identity.unlink(sent.person.user.id, key, &usable, dashboard.passwords).await? {
        Unlinked::Done => {
            if let Some(provider) = &provider {
                dashboard.revocations.set_groups(sent.person.user.id, provider, &[]).await?;
            }
            let subject = format!("{} at {}", sent.form.subject, sent.form.issuer);
            dashboard.record(&sent, "identity.unlinked", &subject);
            Ok(see_other(ACCOUNT))
        }
        Unlinked::LastWayIn => dashboard.account_page(&sent.person, StatusCode::CONFLICT, Some(LAST)).await,
        Unlinked::Unknown => Err(Failure::NotFound),
    }
}

impl Dashboard {
    /// Somebody who is signed in came back from a provider.
    pub(in crate::dashboard) async fn link_arrived(
        &self,
        arrival: &Arrival,
        person: &SignedIn,
        profile: &Profile,
    ) -> Result<Response, Failure> {
        match self.identity.link(person.user.id, profile).await? {
            Linking::Linked => {
                self.revocations.set_groups(person.user.id, &profile.provider, &profile.groups).await?;
                let subject = format!("{} ({}) at {}", profile.subject, profile.name, profile.issuer);
                self.audit.record(&person.user.name, "identity.linked", &subject, Some(arrival.client));
                Ok(see_other(ACCOUNT))
            }
            Linking::AlreadyYours => Ok(see_other(ACCOUNT)),
            Linking::Taken => self.account_page(person, StatusCode::CONFLICT, Some(TAKEN)).await,
        }
    }

    /// The page again, saying why nothing was linked.
    pub(in crate::dashboard) async fn not_linked(
        &self,
        person: &SignedIn,
        error: &SignInError,
    ) -> Result<Response, Failure> {
        match error {
            SignInError::NoSuchProvider => Err(Failure::NotFound),
            SignInError::Declined => self.account_page(person, StatusCode::FORBIDDEN, Some(DECLINED)).await,
            SignInError::Refused { public, .. } => self.account_page(person, StatusCode::FORBIDDEN, Some(public)).await,
            SignInError::Failed(fault) => Ok(crate::dashboard::providers::failed(fault, ACCOUNT)),
        }
    }

    /// What the account page says about it.
    pub(super) async fn identities(&self, person: &SignedIn) -> Result<IdentitiesSection, Failure> {
        let now = self.clock.now();
        let row = |identity: LinkedIdentity| {
            let known = self.providers.names().find(|(name, _)| *name == identity.provider);
            IdentityRow {
                provider: known.map_or_else(|| identity.issuer.clone(), |(_, label)| label.to_owned()),
                used: Moment::new(identity.last_used_at, now),
                issuer: identity.issuer,
                subject: identity.subject,
                name: identity.name,
                email: identity.email,
            }
        };
        let identities = self.store.identities_of(person.user.id).await?;
        let providers = self.providers.names().map(|(name, label)| (name.to_owned(), label.to_owned()));
        Ok(IdentitiesSection { rows: identities.into_iter().map(row).collect(), providers: providers.collect() })
    }
}
