//! Another password.

use super::ACCOUNT;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::error::Culprit;
use crate::identity::LoginError;
use crate::request::Arrival;
use crate::secret::Secret;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

const WRONG: &str = "That is not your password.";
const DIFFERENT: &str = "The two new passwords are not the same.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct PasswordForm {
    password: String,
    new_password: String,
    new_password_again: String,
    csrf_token: String,
}

/// `POST /account/password`: all other browsers are signed out, and this one gets another cookie.
pub(in crate::dashboard) async fn change(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<PasswordForm>,
) -> Result<Response, Failure> {
    let [password, new, again] = [sent.password, sent.new_password, sent.new_password_again].map(Secret::new);
    let person = dashboard.recent_sender(&headers, &sent.csrf_token).await?;
    let name = &person.user.name;
    dashboard.limits.check_login(arrival.client, name)?;
    if !again.matches(new.expose()) {
        return dashboard.account_page(&person, StatusCode::BAD_REQUEST, Some(DIFFERENT)).await;
    }
    match dashboard.identity.change_password(&person.user, &password, &new, person.id).await {
        Ok(()) => {
            dashboard.audit.record(name, "user.password_changed", name, Some(arrival.client));
            let mut response = see_other(ACCOUNT);
            response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.rotate(&person).await?);
            Ok(response)
        }
        Err(LoginError::Refused) => {
            dashboard.audit.record(name, "login.failed", "password change", Some(arrival.client));
            dashboard.account_page(&person, StatusCode::BAD_REQUEST, Some(WRONG)).await
        }
        Err(LoginError::Failed(fault)) if fault.culprit == Culprit::Caller => {
            let notice = format!("Your password stays as it is: {}.", fault.public);
            dashboard.account_page(&person, StatusCode::BAD_REQUEST, Some(&notice)).await
        }
        Err(LoginError::Failed(fault)) => Err(fault.into()),
    }
}
