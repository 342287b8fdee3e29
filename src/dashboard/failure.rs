//! What stands in the way of a page, told to the person on another one; and where a person may be sent.

use crate::administration::Refused;
use crate::csrf::Forged;
use crate::error::Fault;
use crate::page::{self, MessagePage};
pub(super) use crate::paths::local_path;
use crate::ratelimit::Limited;
use crate::store::StoreError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// Why a page is not shown.
pub(super) enum Failure {
    /// There is no such page, or it is not the person's.
    NotFound,
    /// Nobody is signed in; afterwards the person goes on there.
    SignInFirst(String),
    /// Somebody is, but has not proved it lately; afterwards the person goes on there.
    SignInAgain(String),
    /// Only an administrator may.
    NotAdministrator,
    /// The form is not ours.
    Forged,
    /// Too often.
    Limited(Limited),
    /// Something failed.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Fault(error.into())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(_) => Failure::NotFound,
            refused => Failure::Fault(refused.into()),
        }
    }
}

impl From<Forged> for Failure {
    fn from(_: Forged) -> Self {
        Failure::Forged
    }
}

impl From<Limited> for Failure {
    fn from(limited: Limited) -> Self {
        Failure::Limited(limited)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::NotFound => message(StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.", None),
            Failure::SignInFirst(return_to) => see_other(&sign_in_address(&return_to)),
            Failure::SignInAgain(return_to) => see_other(&sign_in_again_address(&return_to)),
            Failure::NotAdministrator => message(
                StatusCode::FORBIDDEN,
                "Only for administrators",
                "Your account does not administer this gateway.",
                Some("Ask an administrator to do it."),
            ),
            Failure::Forged => message(StatusCode::FORBIDDEN, "Please try again", &Forged.to_string(), None),
            Failure::Limited(limited) => {
                let hint = format!("Try again in {}.", super::rows::span(limited.retry_after));
                let (title, text) = ("Too many attempts", "There were too many attempts in a short time.");
                let mut response = message(StatusCode::TOO_MANY_REQUESTS, title, text, Some(&hint));
                limited.write(response.headers_mut());
                response
            }
            Failure::Fault(fault) => {
                tracing::error!(%fault, "a page failed");
                message(fault.status(), "That did not work", &fault.public, Some("The gateway's log says more."))
            }
        }
    }
}

/// Why an administrator's deed was not done, for the page that the deed came from: its status and a sentence.
///
/// # Errors
/// When there is no such thing, or we ourselves failed.
pub(super) fn said(refused: Refused) -> Result<(StatusCode, String), Failure> {
    let text = |why: &str| format!("That was not done: {why}.");
    match refused {
        Refused::Conflict(why) => Ok((StatusCode::CONFLICT, text(&why))),
        Refused::Invalid(why) => Ok((StatusCode::BAD_REQUEST, text(&why))),
        // Of what the page names; the page's own subject was found before.
        Refused::NotFound(why) => Ok((StatusCode::NOT_FOUND, text(&why))),
        refused @ Refused::Failed(_) => Err(refused.into()),
    }
}

/// A page with a message and the way home.
pub(super) fn message(status: StatusCode, title: &str, text: &str, hint: Option<&str>) -> Response {
    page::message(&MessagePage { status, title, text, hint, actions: vec![("Go to the start page", "/")] })
}

/// Malformed queries and forms are refused by axum, in plain text for programmers; here people read.
pub(super) async fn as_page(response: Response) -> Response {
    let status = response.status();
    let plain =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !status.is_client_error() || !plain {
        return response;
    }
    let hint = Some("Go back, reload the page and try again.");
    message(status, "That cannot be read", "The address or the form is not one of ours, or was cut short.", hint)
}

/// 303, to a path of ours or to an upstream's authorization server.
pub(super) fn see_other(address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(location) => {
            (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, NO_STORE)]).into_response()
        }
        Err(_) => Failure::Fault(Fault::gateway("an address to go on to has illegal characters")).into_response(),
    }
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// `/login`, with the way back in it.
pub(super) fn sign_in_address(return_to: &str) -> String {
    match local_path(return_to) {
        "/" => "/login".to_owned(),
        path => {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", path).finish();
            format!("/login?{query}")
        }
    }
}

/// `/login`, for somebody who is signed in.
pub(super) fn sign_in_again_address(return_to: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("/login?{}", query.append_pair("again", "true").append_pair("return_to", local_path(return_to)).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_survives_the_login() {
        assert_eq!(sign_in_address("/"), "/login");
        assert_eq!(sign_in_address("/authorize?a=1&b=2"), "/login?return_to=%2Fauthorize%3Fa%3D1%26b%3D2");
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let limited = Limited {
            retry_after: std::time::Duration::from_secs(7),
            policy: "login",
            burst: 5,
            window: std::time::Duration::from_secs(60),
        };
        let response = Failure::from(limited).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "7");
    }
}
