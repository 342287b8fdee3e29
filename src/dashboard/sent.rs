//! Forms, and who sent them. What a form says is had together with the person behind it and in no other way, so no page can
//! forget to ask whether the form is one of ours (cross-site request forgery), or whether an administrator sent it.

use super::failure::Failure;
use super::{Dashboard, must_administer};
use crate::administration::Actor;
use crate::request::Arrival;
use crate::session::SignedIn;
use axum::Form;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;

/// What a signed-in person has sent, from a page of ours.
pub(super) struct Sent<F> {
    pub(super) person: SignedIn,
    /// Where it came from.
    pub(super) client: IpAddr,
    pub(super) form: F,
}

/// The same, of somebody who administers.
pub(super) struct Deciding<F>(pub(super) Sent<F>);

/// The form of a button that says all by itself.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    csrf_token: String,
}

impl<F> Sent<F> {
    /// Who does it.
    pub(super) fn actor(&self) -> Actor {
        Actor::person(&self.person.user, self.client)
    }
}

impl<F: DeserializeOwned> FromRequest<Arc<Dashboard>> for Sent<F> {
    type Rejection = Response;

    async fn from_request(request: Request, dashboard: &Arc<Dashboard>) -> Result<Self, Response> {
        sender(request, dashboard, |_| Ok(())).await
    }
}

impl<F: DeserializeOwned> FromRequest<Arc<Dashboard>> for Deciding<F> {
    type Rejection = Response;

    async fn from_request(request: Request, dashboard: &Arc<Dashboard>) -> Result<Self, Response> {
        sender(request, dashboard, must_administer).await.map(Self)
    }
}

/// Nothing is read for somebody who is not signed in, and the fields only for somebody who may send them.
async fn sender<F: DeserializeOwned>(
    request: Request,
    dashboard: &Dashboard,
    may: impl Fn(&SignedIn) -> Result<(), Failure>,
) -> Result<Sent<F>, Response> {
    let person = dashboard.person(request.headers(), "/").await.map_err(IntoResponse::into_response)?;
    let (head, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(head.clone(), body), &()).await;
    let body = body.map_err(IntoResponse::into_response)?;
    let Token { csrf_token } = read(&head, &body).await?;
    crate::csrf::check(&dashboard.site, &head.headers, &person.csrf_token, Some(&csrf_token))
        .map_err(|forged| Failure::from(forged).into_response())?;
    may(&person).map_err(IntoResponse::into_response)?;
    let Arrival { client, .. } = head.extensions.get().ok_or_else(|| Failure::NotFound.into_response())?;
    Ok(Sent { person, client: *client, form: read(&head, &body).await? })
}

async fn read<T: DeserializeOwned>(head: &Parts, body: &Bytes) -> Result<T, Response> {
    let request = Request::from_parts(head.clone(), Body::from(body.clone()));
    Form::from_request(request, &()).await.map(|Form(fields)| fields).map_err(IntoResponse::into_response)
}

impl Dashboard {
    /// The audit event of what somebody has sent.
    pub(super) fn record<F>(&self, sent: &Sent<F>, action: &'static str, subject: &str) {
        self.audit.record(&sent.person.user.name, action, subject, Some(sent.client));
    }

    /// What changes how somebody signs in, or lets somebody in, must not be at the mercy of whoever sits at a browser that was
    /// left alone: the person has to have proved a short while ago who they are. Afterwards the person goes on at `return_to`.
    pub(super) fn must_be_recent(&self, person: &SignedIn, return_to: &str) -> Result<(), Failure> {
        if self.sessions.is_recent(person) { Ok(()) } else { Err(Failure::SignInAgain(return_to.to_owned())) }
    }
}
