//! A person's passkeys.

use super::{ACCOUNT, totp};
use crate::config::SecondFactor;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::passkey::json;
use crate::dashboard::sent::{Nothing, Sent};
use crate::factors::PasskeyError;
use crate::ids::PasskeyId;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

const REFUSED: &str = "The passkey was not added. Try again; if it took longer than five minutes, be quicker.";
const REQUIRED: &str = "A second factor is required here: set up another one before you remove this one.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct PasskeyForm {
    label: String,
    credential: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct RemovalForm {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct WishForm {
    after_password: bool,
}

/// `POST /account/passkeys/challenge`: for the script of the page.
pub(in crate::dashboard) async fn challenge(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    Ok(json(dashboard.factors.passkey_creation(&sent.person.user, sent.person.session).await?))
}

/// `POST /account/passkeys`
pub(in crate::dashboard) async fn add(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<PasskeyForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    match dashboard
        .factors
        .register_passkey(&sent.person.user, sent.person.session, &sent.form.label, &sent.form.credential)
        .await
    {
        Ok(passkey) => {
            dashboard.record(&sent, "passkey.added", &passkey.name);
            Ok(see_other(ACCOUNT))
        }
        Err(PasskeyError::Refused(why)) => {
            tracing::info!(%why, "a passkey was not added");
            dashboard.account_page(&sent.person, StatusCode::BAD_REQUEST, Some(REFUSED)).await
        }
        Err(PasskeyError::Failed(fault)) => Err(fault.into()),
    }
}

/// `POST /account/passkeys/remove`
pub(in crate::dashboard) async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<RemovalForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let user = sent.person.user.id;
    let id: PasskeyId = sent.form.id.parse().map_err(|_| Failure::NotFound)?;
    let held = dashboard.factors.of(user).await?;
    let passkey = held.passkeys.iter().find(|passkey| passkey.id == id).ok_or(Failure::NotFound)?;
    let last = held.passkeys.len() == 1 && !held.authenticator;
    if last && dashboard.second_factor == SecondFactor::Required {
        return dashboard.account_page(&sent.person, StatusCode::CONFLICT, Some(REQUIRED)).await;
    }
    dashboard.factors.remove_passkey(user, id).await?;
    dashboard.record(&sent, "passkey.removed", &passkey.name);
    Ok(see_other(ACCOUNT))
}

/// `POST /account/passkeys/after-password`
pub(in crate::dashboard) async fn ask_after_password(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<WishForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let codes = dashboard.factors.ask_for_passkey(sent.person.user.id, sent.form.after_password).await?;
    let wish =
        if sent.form.after_password { "asked for after the password" } else { "not asked for after the password" };
    dashboard.record(&sent, "passkey.changed", wish);
    Ok(codes.map_or_else(|| see_other(ACCOUNT), |codes| totp::show_codes(&sent.person, &codes)))
}
