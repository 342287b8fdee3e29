//! The authenticator app, and recovery codes.

use super::ACCOUNT;
use crate::config::SecondFactor;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::{Nothing, Sent};
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, CodesPage, EnrolPage};
use crate::secret::Secret;
use crate::session::SignedIn;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

const WRONG: &str = "That code is wrong. Look whether the clock of your phone is right, and try the next code.";
const REQUIRED: &str = "A second factor is required here: set up another one before you remove this one.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct TotpForm {
    totp_code: String,
}

/// `POST /account/totp/begin`
pub(in crate::dashboard) async fn begin(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    dashboard.enrolment(&sent.person, StatusCode::OK, None).await
}

/// `POST /account/totp/confirm`
pub(in crate::dashboard) async fn confirm(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<TotpForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let name = &sent.person.user.name;
    dashboard.limits.check_login(sent.client, name)?;
    match dashboard.factors.confirm(sent.person.user.id, sent.person.session, &sent.form.totp_code).await? {
        Some(codes) => {
            dashboard.record(&sent, "totp.added", name);
            Ok(show_codes(&sent.person, &codes))
        }
        None => dashboard.enrolment(&sent.person, StatusCode::BAD_REQUEST, Some(WRONG)).await,
    }
}

/// `POST /account/totp/remove`
pub(in crate::dashboard) async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let (id, name) = (sent.person.user.id, &sent.person.user.name);
    let last = dashboard.factors.of(id).await?.passkeys.is_empty();
    if last && dashboard.second_factor == SecondFactor::Required {
        return dashboard.account_page(&sent.person, StatusCode::CONFLICT, Some(REQUIRED)).await;
    }
    if dashboard.factors.remove_authenticator(id).await? {
        dashboard.record(&sent, "totp.removed", name);
    }
    Ok(see_other(ACCOUNT))
}

/// `POST /account/recovery-codes`
pub(in crate::dashboard) async fn renew_codes(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let (id, name) = (sent.person.user.id, &sent.person.user.name);
    if !dashboard.factors.of(id).await?.asks() {
        return Ok(see_other(ACCOUNT));
    }
    let codes = dashboard.factors.renew_codes(id).await?;
    dashboard.record(&sent, "recovery_codes.renewed", name);
    Ok(show_codes(&sent.person, &codes))
}

impl Dashboard {
    async fn enrolment(&self, person: &SignedIn, status: StatusCode, error: Option<&str>) -> Result<Response, Failure> {
        let Some(enrolment) = self.factors.enrol(&person.user, person.session).await? else {
            return Ok(see_other(ACCOUNT));
        };
        Ok(page::enrol(&EnrolPage {
            status,
            error,
            account: Some(rows::account(person)),
            csrf_token: &person.csrf_token,
            action: "/account/totp/confirm",
            enrolment: &enrolment,
        }))
    }
}

/// The page on which a person sees the own recovery codes, once.
pub(super) fn show_codes(person: &SignedIn, codes: &[Secret]) -> Response {
    page::codes(&CodesPage { account: Some(rows::account(person)), codes, go_on: ACCOUNT })
}
