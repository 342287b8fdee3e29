//! Another password.

use super::ACCOUNT;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::Sent;
use crate::error::Culprit;
use crate::identity::LoginError;
use crate::secret::Secret;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, header};
use serde::Deserialize;
use std::mem::take;
use std::sync::Arc;

const WRONG: &str = "That is not your password.";
const DIFFERENT: &str = "The two new passwords are not the same.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct PasswordForm {
    password: String,
    new_password: String,
    new_password_again: String,
}

/// `POST /account/password`: all other browsers are signed out, and this one gets another cookie.
pub(in crate::dashboard) async fn change(
    State(dashboard): State<Arc<Dashboard>>,
    mut sent: Sent<PasswordForm>,
) -> Result<Response, Failure> {
    let form = &mut sent.form;
    let typed = [&mut form.password, &mut form.new_password, &mut form.new_password_again];
    let [password, new, again] = typed.map(|field| Secret::new(take(field)));
    dashboard.must_be_recent(&sent.person, ACCOUNT)?;
    let name = &sent.person.user.name;
    dashboard.limits.check_login(sent.client, name)?;
    if !again.matches(new.expose()) {
        return dashboard.account_page(&sent.person, StatusCode::BAD_REQUEST, Some(DIFFERENT)).await;
    }
    match dashboard.identity.change_password(&sent.person.user, &password, &new, sent.person.id).await {
        Ok(()) => {
            dashboard.record(&sent, "user.password_changed", name);
            let mut response = see_other(ACCOUNT);
            response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.rotate(&sent.person).await?);
            Ok(response)
        }
        Err(LoginError::Refused) => {
            dashboard.record(&sent, "login.failed", "password change");
            dashboard.account_page(&sent.person, StatusCode::BAD_REQUEST, Some(WRONG)).await
        }
        Err(LoginError::Failed(fault)) if fault.culprit == Culprit::Caller => {
            let notice = format!("Your password stays as it is: {}.", fault.public);
            dashboard.account_page(&sent.person, StatusCode::BAD_REQUEST, Some(&notice)).await
        }
        Err(LoginError::Failed(fault)) => Err(fault.into()),
    }
}
