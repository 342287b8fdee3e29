//! A person's passkeys.

use super::{ACCOUNT, totp};
use crate::config::SecondFactor;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::passkey::{ChallengeForm, json};
use crate::factors::PasskeyError;
use crate::ids::PasskeyId;
use crate::request::Arrival;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

const REFUSED: &str = "The passkey was not added. Try again; if it took longer than five minutes, be quicker.";
const REQUIRED: &str = "A second factor is required here: set up another one before you remove this one.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct PasskeyForm {
    label: String,
    credential: String,
    csrf_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct RemovalForm {
    id: String,
    csrf_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct WishForm {
    after_password: bool,
    csrf_token: String,
}

/// `POST /account/passkeys/challenge`: for the script of the page.
pub(in crate::dashboard) async fn challenge(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Form(sent): Form<ChallengeForm>,
) -> Result<Response, Failure> {
    let person = dashboard.recent_sender(&headers, &sent.csrf_token).await?;
    Ok(json(dashboard.factors.passkey_creation(&person.user, person.session).await?))
}

/// `POST /account/passkeys`
pub(in crate::dashboard) async fn add(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<PasskeyForm>,
) -> Result<Response, Failure> {
    let person = dashboard.recent_sender(&headers, &sent.csrf_token).await?;
    let name = &person.user.name;
    match dashboard.factors.register_passkey(&person.user, person.session, &sent.label, &sent.credential).await {
        Ok(passkey) => {
            dashboard.audit.record(name, "passkey.added", &passkey.name, Some(arrival.client));
            Ok(see_other(ACCOUNT))
        }
        Err(PasskeyError::Refused(why)) => {
            tracing::info!(%why, "a passkey was not added");
            dashboard.account_page(&person, StatusCode::BAD_REQUEST, Some(REFUSED)).await
        }
        Err(PasskeyError::Failed(fault)) => Err(fault.into()),
    }
}

/// `POST /account/passkeys/remove`
pub(in crate::dashboard) async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<RemovalForm>,
) -> Result<Response, Failure> {
    let person = dashboard.recent_sender(&headers, &sent.csrf_token).await?;
    let (user, name) = (person.user.id, &person.user.name);
    let id: PasskeyId = sent.id.parse().map_err(|_| Failure::NotFound)?;
    let held = dashboard.factors.of(user).await?;
    let passkey = held.passkeys.iter().find(|passkey| passkey.id == id).ok_or(Failure::NotFound)?;
    let last = held.passkeys.len() == 1 && !held.authenticator;
    if last && dashboard.second_factor == SecondFactor::Required {
        return dashboard.account_page(&person, StatusCode::CONFLICT, Some(REQUIRED)).await;
    }
    dashboard.factors.remove_passkey(user, id).await?;
    dashboard.audit.record(name, "passkey.removed", &passkey.name, Some(arrival.client));
    Ok(see_other(ACCOUNT))
}

/// `POST /account/passkeys/after-password`
pub(in crate::dashboard) async fn ask_after_password(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<WishForm>,
) -> Result<Response, Failure> {
    let person = dashboard.recent_sender(&headers, &sent.csrf_token).await?;
    let codes = dashboard.factors.ask_for_passkey(person.user.id, sent.after_password).await?;
    let wish = if sent.after_password { "asked for after the password" } else { "not asked for after the password" };
    dashboard.audit.record(&person.user.name, "passkey.changed", wish, Some(arrival.client));
    Ok(codes.map_or_else(|| see_other(ACCOUNT), |codes| totp::show_codes(&person, &codes)))
}
