//! What comes after the password: a code, or, where one is required and missing, setting an authenticator app up.

use super::Dashboard;
use super::failure::{Failure, see_other};
use super::pending::Pending;
use crate::config::SecondFactor;
use crate::csrf;
use crate::error::Fault;
use crate::factors::Accepted;
use crate::page::{self, CodePage, CodesPage, EnrolPage};
use crate::request::Arrival;
use crate::session::{Means, Visitor};
use crate::store::User;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// Where it is asked for.
const ADDRESS: &str = "/login/totp";
const WRONG: &str = "That code is wrong, or was used before. An app shows another one after half a minute at most.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CodeForm {
    totp_code: String,
    csrf_token: String,
}

/// `GET /login/totp`
pub(super) async fn form(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let visitor = dashboard.sessions.visitor(&headers);
    match dashboard.find_pending(&visitor).await? {
        Some(pending) => dashboard.ask(&visitor, &pending, StatusCode::OK, None).await,
        None => Ok(see_other("/login")),
    }
}

/// `POST /login/totp`
pub(super) async fn check(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<CodeForm>,
) -> Result<Response, Failure> {
    let visitor = dashboard.sessions.visitor(&headers);
    csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&sent.csrf_token))?;
    let Some(pending) = dashboard.find_pending(&visitor).await? else { return Ok(see_other("/login")) };
    dashboard.limits.check_login(arrival.client, &pending.user.name)?;
    let Some(mut pending) = dashboard.take_pending(&visitor).await? else { return Ok(see_other("/login")) };
    if let Some(response) = dashboard.prove(&arrival, &headers, (&visitor, &pending), &sent.totp_code).await? {
        return Ok(response);
    }
    dashboard.audit.record(&pending.user.name, "login.failed", "code", Some(arrival.client));
    if !dashboard.retry_pending(&visitor, &mut pending).await? {
        return Ok(see_other("/login"));
    }
    dashboard.ask(&visitor, &pending, StatusCode::UNAUTHORIZED, Some(WRONG)).await
}

impl Dashboard {
    /// Whether a password is not enough for this person.
    pub(super) async fn needs_second_factor(&self, user: &User) -> Result<bool, Fault> {
        Ok(self.second_factor == SecondFactor::Required || self.factors.of(user.id).await?.asks())
    }

    /// Notes that the password was right, and sends the browser on to the second factor. It has another cookie from then
    /// on and no session, not even an earlier one.
    pub(super) async fn ask_for_second_factor(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        user: &User,
        return_to: &str,
    ) -> Result<Response, Failure> {
        self.audit.record(&user.name, "login.password_accepted", &user.name, Some(arrival.client));
        let visitor = self.sessions.new_visitor();
        self.begin_pending(&visitor, user, return_to).await?;
        let mut response = see_other(ADDRESS);
        response.headers_mut().append(header::SET_COOKIE, self.sessions.end(headers).await?);
        response.headers_mut().extend(visitor.set_cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        Ok(response)
    }

    /// What a right code leads to; `None` for a wrong one.
    async fn prove(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        (visitor, pending): (&Visitor, &Pending),
        code: &str,
    ) -> Result<Option<Response>, Failure> {
        let Pending { user, return_to, .. } = pending;
        let means = Means::PasswordAndCode;
        if self.factors.of(user.id).await?.suffices() {
            let Some(accepted) = self.factors.check(user.id, code).await? else { return Ok(None) };
            if accepted == Accepted::Recovery {
                self.audit.record(&user.name, "recovery_code.used", &user.name, Some(arrival.client));
            }
            return Ok(Some(self.begin_session(arrival, headers, user, means, return_to).await?));
        }
        let Some(codes) = self.factors.confirm(user.id, visitor.browser, code).await? else { return Ok(None) };
        self.audit.record(&user.name, "totp.added", &user.name, Some(arrival.client));
        let begun = self.begin_session(arrival, headers, user, means, return_to).await?;
        let mut response = page::codes(&CodesPage { account: None, codes: &codes, go_on: return_to });
        let cookies = begun.headers().get_all(header::SET_COOKIE).iter();
        response.headers_mut().extend(cookies.map(|cookie| (header::SET_COOKIE, cookie.clone())));
        Ok(Some(response))
    }

    async fn ask(
        &self,
        visitor: &Visitor,
        pending: &Pending,
        status: StatusCode,
        error: Option<&str>,
    ) -> Result<Response, Failure> {
        let (csrf_token, user) = (visitor.csrf_token.as_str(), &pending.user);
        let held = self.factors.of(user.id).await?;
        if held.suffices() {
            return Ok(page::code(&CodePage {
                status,
                error,
                csrf_token,
                authenticator: held.authenticator,
                passkey: !held.passkeys.is_empty(),
                recovery: held.recovery_codes > 0,
                return_to: &pending.return_to,
            }));
        }
        let Some(enrolment) = self.factors.enrol(user, visitor.browser).await? else { return Ok(see_other("/login")) };
        Ok(page::enrol(&EnrolPage { status, error, account: None, csrf_token, action: ADDRESS, enrolment: &enrolment }))
    }
}
