//! What people read when they do not get to a service: where it ends, and how to go on.

use crate::connect::ConnectError;
use crate::csrf::Forged;
use crate::error::{Culprit, Fault};
use crate::page::{self, MessagePage};
use crate::store::StoreError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// When a provider in trouble is asked again, in seconds (DESIGN 1.7).
const PROVIDER_RETRY: HeaderValue = HeaderValue::from_static("15");

/// Why a page is not shown.
pub(super) enum Stop {
    /// Nobody is signed in; afterwards the person goes on there.
    SignInFirst(String),
    /// No such service.
    UnknownService,
    /// The service has no OAuth client.
    NoOAuth(String),
    /// Used, expired, withdrawn, or never made.
    LinkIsGone,
    /// The link, or the name in the address, is another person's.
    SomebodyElse,
    /// The person would be sent to a place that nobody has allowed.
    Destination,
    /// The address cannot be read.
    Unreadable,
    /// The form is not ours.
    Forged,
    /// Something failed.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<Forged> for Stop {
    fn from(_: Forged) -> Self {
        Self::Forged
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        let (status, title, text, hint) = match self {
            Self::SignInFirst(return_to) => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                return see_other(&format!("/login?{}", query.append_pair("return_to", &return_to).finish()));
            }
            Self::UnknownService => {
                (StatusCode::NOT_FOUND, "Not found", "This gateway has no service of that name.".into(), None)
            }
            Self::NoOAuth(label) => (
                StatusCode::CONFLICT,
                "This service is used with a token",
                format!("{label} is not connected by signing in there, but with a personal access token.").into(),
                Some("Make one there, and keep it on your account page."),
            ),
            Self::LinkIsGone => (
                StatusCode::BAD_REQUEST,
                "This link does not work any more",
                "It was used already, took longer than a quarter of an hour, or was withdrawn.".into(),
                Some("Ask the program that gave it to you for another one."),
            ),
            Self::SomebodyElse => (
                StatusCode::FORBIDDEN,
                "This link is for somebody else",
                "You are signed in, but not as the person that this link was made for. Nothing was connected.".into(),
                Some("If it was made for you, sign out, sign in with that account, and open it again."),
            ),
            Self::Destination => (
                StatusCode::BAD_REQUEST,
                "That address is not allowed",
                "The page to which you would return is not one that this gateway knows.".into(),
                Some("An administrator can add its origin to server.allowed_origins."),
            ),
            Self::Unreadable => (
                StatusCode::BAD_REQUEST,
                "That cannot be read",
                "The address or the form is not one of ours, or was cut short.".into(),
                Some("Go back, reload the page and try again."),
            ),
            Self::Forged => (StatusCode::FORBIDDEN, "Please try again", Forged.to_string().into(), None),
            Self::Fault(fault) => {
                tracing::error!(%fault, "a page of the broker failed");
                (fault.status(), "That did not work", fault.public, Some("The gateway's log says more."))
            }
        };
        message(status, title, &text, hint)
    }
}

/// The service is connected, and there is nowhere to go on to.
pub(super) fn connected(label: &str) -> Response {
    let text = format!("Programs to which this gateway gives access to {label} can use it for you now.");
    let (title, hint) =
        (format!("{label} is connected"), Some("You can close this page. Your account page takes it back."));
    page::message(&MessagePage {
        status: StatusCode::OK,
        title: &title,
        text: &text,
        hint,
        actions: vec![("Go to your account", "/account")],
    })
}

/// The person said no here.
pub(super) fn declined(label: &str) -> Response {
    let text = format!("You did not agree, so {label} stays as it is. The link works until it expires.");
    message(StatusCode::OK, "Nothing was connected", &text, None)
}

/// The answer came to a browser in which nobody is signed in.
pub(super) fn nobody_here() -> Response {
    let (title, text) = ("Nobody is signed in here", "This answer belongs to a browser that is signed in.");
    let hint = Some("Finish in the browser in which you began, or begin again.");
    message(StatusCode::BAD_REQUEST, title, text, hint)
}

/// The service was not connected.
pub(super) fn failed(error: &ConnectError) -> Response {
    tracing::warn!(step = error.step, denied = error.denied, fault = %error.fault, "connecting a service failed");
    let title = if error.denied { "You did not give access" } else { "The service could not be connected" };
    let hint = format!("It happened at this step: {}.", error.step);
    let mut response = message(error.fault.status(), title, &error.fault.public, Some(&hint));
    if matches!(error.fault.culprit, Culprit::Upstream | Culprit::UpstreamTimeout) {
        response.headers_mut().insert(header::RETRY_AFTER, PROVIDER_RETRY);
    }
    response
}

/// 303, to a page of ours or of somebody else's: what was in our address stays here.
pub(super) fn see_other(address: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(address) else {
        return Stop::Fault(Fault::gateway("an address to go on to has illegal characters")).into_response();
    };
    let headers = [(header::LOCATION, location), (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn message(status: StatusCode, title: &str, text: &str, hint: Option<&str>) -> Response {
    page::message(&MessagePage { status, title, text, hint, actions: vec![("Go to the start page", "/")] })
}
