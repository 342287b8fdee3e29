//! Signing in and out, and claiming a new installation.

use super::Dashboard;
use super::failure::{Failure, local_path, message, see_other};
use super::sent::{Nothing, Sent};
use crate::csrf;
use crate::error::{Culprit, Fault};
use crate::identity::LoginError;
use crate::page::{self, LoginPage, SetupPage};
use crate::request::Arrival;
use crate::secret::Secret;
use crate::session::{Means, Visitor};
use crate::store::User;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// One sentence for every reason, so that nobody learns which names exist.
const REFUSED: &str = "That name and that password do not belong together.";
const NO_PASSWORDS: &str = "This gateway does not take passwords. Sign in with one of the buttons.";
/// Why somebody who is signed in is asked.
const AGAIN: &str = "Please sign in again before you change this.";
/// What the audit log keeps of a name that somebody tried.
const MAX_TRIED_NAME: usize = 64;

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct ReturnTo {
    return_to: String,
    /// Whether somebody who is signed in should prove it anew.
    again: bool,
}

impl Default for ReturnTo {
    fn default() -> Self {
        Self { return_to: "/".to_owned(), again: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Credentials {
    username: String,
    password: String,
    csrf_token: String,
    return_to: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SetupQuery {
    token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Claim {
    token: String,
    username: String,
    password: String,
    password_again: String,
    csrf_token: String,
}

/// `GET /login`
pub(super) async fn form(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(ReturnTo { return_to, again }): Query<ReturnTo>,
) -> Result<Response, Failure> {
    let return_to = local_path(&return_to);
    let person = dashboard.sessions.find(&headers).await?;
    if person.is_some() && !again {
        return Ok(see_other(return_to));
    }
    let visitor = dashboard.sessions.visitor(&headers);
    let (notice, name) = match &person {
        Some(person) => (Some(AGAIN), person.user.name.as_str()),
        None => (None, ""),
    };
    Ok(dashboard.login_page(visitor, StatusCode::OK, notice, name, return_to))
}

/// `POST /login`
pub(super) async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> Result<Response, Failure> {
    let Credentials { username, password, csrf_token, return_to } = sent;
    let (password, return_to) = (Secret::new(password), local_path(&return_to));
    let visitor = dashboard.sessions.visitor(&headers);
    if let Err(forged) = csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&csrf_token)) {
        let error = forged.to_string();
        return Ok(dashboard.login_page(visitor, StatusCode::FORBIDDEN, Some(&error), &username, return_to));
    }
    if !dashboard.passwords {
        return Ok(dashboard.login_page(visitor, StatusCode::FORBIDDEN, Some(NO_PASSWORDS), "", return_to));
    }
    dashboard.limits.check_login(arrival.client, &username)?;
    match dashboard.identity.verify(&username, &password).await {
        Ok(user) => dashboard.admit(&arrival, &headers, &user, Means::Password, return_to).await,
        Err(LoginError::Refused) => {
            let tried: String = username.chars().filter(|c| !c.is_control()).take(MAX_TRIED_NAME).collect();
            dashboard.audit.record(&tried, "login.failed", "password", Some(arrival.client));
            Ok(dashboard.login_page(visitor, StatusCode::UNAUTHORIZED, Some(REFUSED), &username, return_to))
        }
        Err(LoginError::Failed(fault)) => Err(fault.into()),
    }
}

/// `POST /logout`
pub(super) async fn sign_out(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, Failure> {
    let mut response = see_other("/");
    response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.end(&headers).await?);
    Ok(response)
}

/// `GET /setup`
pub(super) async fn setup_form(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(SetupQuery { token }): Query<SetupQuery>,
) -> Result<Response, Failure> {
    dashboard.must_be_unclaimed().await?;
    if token.is_empty() {
        let (title, text) = ("The link is not complete", "It ends with a one-time token, which is missing here.");
        let hint = Some("Copy the whole link from the gateway's log.");
        return Ok(message(StatusCode::BAD_REQUEST, title, text, hint));
    }
    if !dashboard.identity.can_claim(&Secret::new(token.clone())).await? {
        let (title, text) = (
            "This link is not good",
            "Its one-time token is wrong, older than 15 minutes, or was replaced by a newer one.",
        );
        let hint =
            Some("Use the newest link of the gateway's log; when the gateway starts again, it writes another one.");
        return Ok(message(StatusCode::BAD_REQUEST, title, text, hint));
    }
    let visitor = dashboard.sessions.visitor(&headers);
    Ok(setup_page(visitor, StatusCode::OK, None, "", &token))
}

/// `POST /setup`
pub(super) async fn set_up(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<Claim>,
) -> Result<Response, Failure> {
    dashboard.must_be_unclaimed().await?;
    let Claim { token, username, password, password_again, csrf_token } = sent;
    let (password, again) = (Secret::new(password), Secret::new(password_again));
    let visitor = dashboard.sessions.visitor(&headers);
    csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&csrf_token))?;
    dashboard.limits.check_login(arrival.client, &username)?;
    let claimed = if again.matches(password.expose()) {
        dashboard.identity.claim(&Secret::new(token.clone()), &username, &password).await
    } else {
        Err(Fault::caller("The two passwords are not the same."))
    };
    match claimed {
        Ok(user) => {
            dashboard.audit.record(&user.name, "setup.claimed", dashboard.site.domain(), Some(arrival.client));
            dashboard.admit(&arrival, &headers, &user, Means::Password, "/").await
        }
        Err(fault) if fault.culprit == Culprit::Caller => {
            Ok(setup_page(visitor, StatusCode::BAD_REQUEST, Some(&fault.public), &username, &token))
        }
        Err(fault) => Err(fault.into()),
    }
}

impl Dashboard {
    /// The one end of every sign-in: the person has proved by `means` who they are, and goes on to `return_to`, after a
    /// password by way of the second factor.
    pub(super) async fn admit(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        user: &User,
        means: Means<'_>,
        return_to: &str,
    ) -> Result<Response, Failure> {
        if means == Means::Password && self.needs_second_factor(user).await? {
            return self.ask_for_second_factor(arrival, headers, user, return_to).await;
        }
        self.begin_session(arrival, headers, user, means, return_to).await
    }

    /// Signs a browser in, with a cookie that it did not have before, and sends it on.
    pub(super) async fn begin_session(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        user: &User,
        means: Means<'_>,
        return_to: &str,
    ) -> Result<Response, Failure> {
        self.audit.record(&user.name, "login.succeeded", &means.to_string(), Some(arrival.client));
        let cookie = self.sessions.begin(headers, user, means, Some(arrival.client)).await?;
        let mut response = see_other(return_to);
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    }

    /// The ways to sign in, with what went wrong before.
    pub(super) fn login_page(
        &self,
        visitor: Visitor,
        status: StatusCode,
        error: Option<&str>,
        username: &str,
        return_to: &str,
    ) -> Response {
        let response = page::login(&LoginPage {
            status,
            passwords: self.passwords,
            providers: self.providers.names().collect(),
            error,
            username,
            return_to,
            csrf_token: &visitor.csrf_token,
        });
        remembering(visitor, response)
    }

    /// Where passwords are not accepted, an administrator with one would be none: a rule of a provider makes the first one.
    async fn must_be_unclaimed(&self) -> Result<(), Failure> {
        let claimed = !self.passwords || self.store.has_administrator().await?;
        if claimed { Err(Failure::NotFound) } else { Ok(()) }
    }
}

fn setup_page(visitor: Visitor, status: StatusCode, error: Option<&str>, username: &str, token: &str) -> Response {
    let csrf_token = &visitor.csrf_token;
    let response = page::setup(&SetupPage { status, error, username, token, csrf_token });
    remembering(visitor, response)
}

fn remembering(visitor: Visitor, mut response: Response) -> Response {
    if let Some(cookie) = visitor.set_cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
