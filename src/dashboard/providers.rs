//! Signing in elsewhere: the button that leads there, and the address to which providers answer.

use super::Dashboard;
use super::failure::{Failure, local_path, see_other, sign_in_address};
use crate::csrf;
use crate::error::Fault;
use crate::identity::providers::{Answer, Arrived, NotArrived, Profile, Purpose, Returning, SignInError};
use crate::page::{self, MessagePage};
use crate::request::Arrival;
use crate::session::Means;
use crate::store::Role;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// When a provider in trouble is asked again, in seconds.
const PROVIDER_RETRY: HeaderValue = HeaderValue::from_static("15");
const DECLINED: &str = "You did not sign in there. You can try again, or choose another way.";
const DISABLED: &str = "Your account at this gateway is disabled. Ask an administrator.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Leaving {
    csrf_token: String,
    return_to: String,
}

/// `POST /login/{provider}`
pub(super) async fn leave(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    Form(sent): Form<Leaving>,
) -> Result<Response, Failure> {
    let return_to = local_path(&sent.return_to);
    let visitor = dashboard.sessions.visitor(&headers);
    if let Err(forged) = csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&sent.csrf_token)) {
        let error = forged.to_string();
        return Ok(dashboard.login_page(visitor, StatusCode::FORBIDDEN, Some(&error), "", return_to));
    }
    dashboard.limits.check_nameless_login(arrival.client)?;
    match dashboard.providers.begin(&provider, visitor.browser, Purpose::SignIn, return_to).await {
        Ok(address) => Ok(see_other(&address)),
        Err(error) => dashboard.not_signed_in(&headers, &error, return_to),
    }
}

/// `GET /login/{provider}/callback`
pub(super) async fn come_back(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    query: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, Failure> {
    let Ok(Query(answer)) = query else {
        return dashboard.not_signed_in(&headers, &Fault::caller("The provider's answer is malformed.").into(), "/");
    };
    let person = dashboard.sessions.find(&headers).await?;
    let session = person.as_ref().map(|person| (person.user.id, person.session));
    let browser = Returning { visitor: dashboard.sessions.visitor(&headers).known(), session };
    match (dashboard.providers.finish(&provider, browser, &answer).await, &person) {
        (Ok(Arrived { profile, purpose: Purpose::Link(_), .. }), Some(person)) => {
            dashboard.link_arrived(&arrival, person, &profile).await
        }
        (Ok(Arrived { purpose: Purpose::Link(_), .. }), None) => Err(Failure::SignInFirst("/account".to_owned())),
        (Ok(Arrived { profile, purpose: Purpose::SignIn, return_to }), _) => {
            dashboard.admit_from(&arrival, &headers, &profile, local_path(&return_to)).await
        }
        (Err(NotArrived { error, departure }), person) => {
            dashboard.record_refusal(&arrival, &provider, &error);
            match (departure, person) {
                (Some((Purpose::Link(_), _)), Some(person)) => dashboard.not_linked(person, &error).await,
                (departure, _) => {
                    let return_to = departure.map(|(_, return_to)| return_to).unwrap_or_default();
                    dashboard.not_signed_in(&headers, &error, local_path(&return_to))
                }
            }
        }
    }
}

impl Dashboard {
    async fn admit_from(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        profile: &Profile,
        return_to: &str,
    ) -> Result<Response, Failure> {
        let (provider, client) = (profile.provider.as_str(), Some(arrival.client));
        let Some(admitted) = self.identity.admit(profile).await? else {
            self.audit.record(&profile.name, "login.failed", provider, client);
            return Ok(self.refused(headers, DISABLED, return_to));
        };
        let user = &admitted.user;
        if admitted.is_new {
            self.audit.record(&user.name, "user.created", &format!("{} at {provider}", profile.name), client);
        }
        self.revocations.set_groups(user.id, provider, &profile.groups).await?;
        if admitted.to_be_raised {
            self.revocations.set_role(user.id, Role::Administrator).await?;
            self.audit.record(&user.name, "user.role_changed", &format!("administrator, by {provider}"), client);
        }
        self.admit(arrival, headers, user, Means::Provider(provider), return_to).await
    }

    fn refused(&self, headers: &HeaderMap, why: &str, return_to: &str) -> Response {
        self.login_page(self.sessions.visitor(headers), StatusCode::FORBIDDEN, Some(why), "", return_to)
    }

    fn record_refusal(&self, arrival: &Arrival, provider: &str, error: &SignInError) {
        if let SignInError::Refused { private, .. } = error {
            self.audit.record(private, "login.failed", provider, Some(arrival.client));
        }
    }

    /// The login page again, where another way may help; else a page that says what is wrong.
    pub(super) fn not_signed_in(
        &self,
        headers: &HeaderMap,
        error: &SignInError,
        return_to: &str,
    ) -> Result<Response, Failure> {
        match error {
            SignInError::NoSuchProvider => Err(Failure::NotFound),
            SignInError::Declined => Ok(self.refused(headers, DECLINED, return_to)),
            SignInError::Refused { public, private } => {
                tracing::info!(who = private, "the rules of a provider let somebody not in");
                Ok(self.refused(headers, public, return_to))
            }
            SignInError::Failed(fault) => Ok(failed(fault, &sign_in_address(return_to))),
        }
    }
}

/// What went wrong, with a way to try again.
pub(super) fn failed(fault: &Fault, way_on: &str) -> Response {
    tracing::warn!(%fault, "a sign-in at a provider failed");
    let status = fault.status();
    let mut response = page::message(&MessagePage {
        status,
        title: "You are not signed in",
        text: &fault.public,
        hint: None,
        actions: vec![("Try again", way_on), ("Go to the start page", "/")],
    });
    if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
        response.headers_mut().insert(header::RETRY_AFTER, PROVIDER_RETRY);
    }
    response
}
