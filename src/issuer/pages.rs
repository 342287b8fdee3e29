//! What people see on the way: the pages of `page`, filled in, with a way on from every one.

use super::answer::AnswerTo;
use super::clients::NoClient;
use super::metadata::authorize_path;
use super::steps::Visit;
use crate::connect::ConnectError;
use crate::error::Fault;
use crate::hostname::Realm;
use crate::page::{self, ApprovalPage, ConsentPage, Destination, DevicePage, MessagePage};
use crate::ratelimit::Limited;
use crate::session::SignedIn;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

const START_AGAIN: &str = "Go back to the application and connect again.";

/// Asks whether the client may have access.
pub(super) fn consent(visit: &Visit<'_>) -> Response {
    let pending = visit.pending;
    let account = match &visit.place.realm {
        Realm::Mcp(label) => label.account.as_ref(),
        Realm::Root => None,
    };
    page::consent(&ConsentPage {
        client_name: &pending.client_name,
        client_id: &pending.client_id,
        client_uri: pending.client_uri.as_deref(),
        verified_host: pending.verified_host.as_deref(),
        destination: match &pending.answer {
            AnswerTo::Client(client) => Destination::Address { host: &client.host, warning: client.warning.as_deref() },
            AnswerTo::Device(device) => Destination::Device { user_code: &device.user_code },
        },
        resource: &pending.resource,
        upstream_name: match &visit.place.upstream {
            Some(upstream) => &upstream.name,
            None if pending.wants_administration() => "the administration of this gateway",
            None => "all servers that you have connected",
        },
        account: account.map(crate::hostname::Account::as_str),
        scopes: pending.scope.split(' ').filter(|scope| !scope.is_empty()).collect(),
        can_remember: pending.memorable.is_some() && !pending.wants_administration(),
        user: &visit.signed_in.user.name,
        action: &format!("{}?decide=client", authorize_path(&visit.place.realm)),
        flow: visit.flow,
        csrf_token: &visit.signed_in.csrf_token,
    })
}

/// Asks an administrator whether the upstream may be used.
pub(super) fn approval(visit: &Visit<'_>) -> Response {
    let domain = visit.place.upstream.as_ref().map(|upstream| upstream.authority.to_string()).unwrap_or_default();
    page::approval(&ApprovalPage {
        domain: &domain,
        label: &visit.pending.realm,
        client_name: &visit.pending.client_name,
        redirect_host: match &visit.pending.answer {
            AnswerTo::Client(client) => &client.host,
            AnswerTo::Device(_) => "",
        },
        user: &visit.signed_in.user.name,
        action: &format!("{}?decide=upstream", authorize_path(&visit.place.realm)),
        flow: visit.flow,
        csrf_token: &visit.signed_in.csrf_token,
    })
}

/// Tells everybody else that an administrator must.
pub(super) fn not_approved(visit: &Visit<'_>) -> Response {
    let domain = visit.place.upstream.as_ref().map(|upstream| upstream.authority.to_string()).unwrap_or_default();
    let (again, cancel) = (visit.resume(), format!("{}&cancel=denied", visit.resume()));
    page::message(&MessagePage {
        status: StatusCode::FORBIDDEN,
        title: "This server has not been approved yet",
        text: &format!("An administrator of this gateway must approve {domain} before anybody can use it."),
        hint: Some("Ask an administrator to open the same address and to approve it, then check again."),
        actions: vec![("Check again", &again), ("Cancel", &cancel)],
    })
}

/// Tells somebody who may not use the upstream whom to ask; giving up tells the client.
pub(super) fn not_permitted(visit: &Visit<'_>) -> Response {
    let name = visit.place.upstream.as_ref().map_or("this server", |upstream| &upstream.name);
    let (again, cancel) = (visit.resume(), format!("{}&cancel=forbidden", visit.resume()));
    page::message(&MessagePage {
        status: StatusCode::FORBIDDEN,
        title: "You may not use this server",
        text: &format!("You are signed in as {}, and {name} is not for everybody here.", visit.signed_in.user.name),
        hint: Some(
            "Ask an administrator of this gateway to permit it to you or to one of your groups, then check again.",
        ),
        actions: vec![("Check again", &again), ("Cancel", &cancel)],
    })
}

/// Tells a member that the admin API is not for members.
pub(super) fn not_administrator(visit: &Visit<'_>) -> Response {
    let (again, cancel) = (visit.resume(), format!("{}&cancel=administrator", visit.resume()));
    page::message(&MessagePage {
        status: StatusCode::FORBIDDEN,
        title: "Only administrators can allow this",
        text: "The application asks for the administration of this gateway, and your account has no part in it.",
        hint: Some("Sign in as an administrator, or let the application ask for less."),
        actions: vec![("Go back without access", &cancel), ("Check again", &again)],
    })
}

/// The form for the code that a device shows.
pub(super) fn device(signed_in: &SignedIn, user_code: &str, error: Option<&str>) -> Response {
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let (user, csrf_token) = (signed_in.user.name.as_str(), signed_in.csrf_token.as_str());
    page::device(&DevicePage { status, error, user_code, user, csrf_token })
}

/// The device gets its tokens when it asks next.
pub(super) fn device_let_in(client_name: &str) -> Response {
    page::message(&MessagePage {
        status: StatusCode::OK,
        title: "Your device has access now",
        text: &format!("{} goes on by itself in a few seconds. Go back to your device.", page::plain_name(client_name)),
        hint: Some("You can take this back at any time on the page of your account."),
        actions: vec![("Go to your account", "/account")],
    })
}

/// The device learns when it asks next that it gets nothing.
pub(super) fn device_kept_out(client_name: &str) -> Response {
    page::message(&MessagePage {
        status: StatusCode::OK,
        title: "The device got no access",
        text: &format!("{} is told so. You can close this page.", page::plain_name(client_name)),
        hint: None,
        actions: Vec::new(),
    })
}

/// The code has expired meanwhile, or was decided about in another window.
pub(super) fn device_is_gone() -> Response {
    let text = "Its code has expired, or was decided about in another window.";
    message(StatusCode::BAD_REQUEST, "This device does not wait any more", text, "Begin again on the device.")
}

/// Codes come too fast.
pub(super) fn too_many_codes(limited: Limited) -> Response {
    let mut response = wait("Wait a moment, then type the code again.");
    limited.write(response.headers_mut());
    response
}

/// Too many codes were wrong.
pub(super) fn locked_out() -> Response {
    wait("Wait a quarter of an hour, then begin again on the device.")
}

fn wait(hint: &str) -> Response {
    let text = "So many codes were typed that somebody may be guessing.";
    message(StatusCode::TOO_MANY_REQUESTS, "Too many codes", text, hint)
}

/// The upstream could not be connected: what failed, try again, or give up and tell the client.
pub(super) fn connect_failed(visit: &Visit<'_>, error: &ConnectError) -> Response {
    let (again, cancel) = (visit.resume(), format!("{}&cancel=failed", visit.resume()));
    page::message(&MessagePage {
        status: error.fault.status(),
        title: "The server could not be connected",
        text: &error.fault.public,
        hint: Some(&format!("The step that failed: {}.", error.step)),
        actions: vec![("Try again", &again), ("Cancel", &cancel)],
    })
}

/// A request by which nothing must be sent anywhere.
pub(super) fn bad_request(text: &str) -> Response {
    message(StatusCode::BAD_REQUEST, "This sign-in request is not valid", text, START_AGAIN)
}

/// No client of that id.
pub(super) fn no_client(why: &NoClient) -> Response {
    match why {
        NoClient::Unknown | NoClient::Expired => bad_request(
            "The application is not registered at this address. Remove its stored sign-in for this server, so that it \
             registers again.",
        ),
        NoClient::Document(reason) => {
            bad_request(&format!("The application's metadata document is not valid: {reason}."))
        }
        NoClient::Unreachable(reason) => {
            bad_request(&format!("The application's metadata document could not be read: {reason}."))
        }
        NoClient::Failed(_) => bad_request("The application could not be looked up."),
    }
}

/// The handle is unknown, used, too old, or another browser's.
pub(super) fn flow_is_gone() -> Response {
    let text = "It was completed already, took longer than ten minutes, or was begun in another browser.";
    message(StatusCode::BAD_REQUEST, "This sign-in cannot go on", text, START_AGAIN)
}

/// The form did not come from our page.
pub(super) fn forged(resume: &str) -> Response {
    let text = crate::csrf::Forged.to_string();
    page::message(&MessagePage {
        status: StatusCode::FORBIDDEN,
        title: "The form was not accepted",
        text: &text,
        hint: None,
        actions: vec![("Back to the form", resume)],
    })
}

/// Neither approved nor denied.
pub(super) fn no_decision(resume: &str) -> Response {
    page::message(&MessagePage {
        status: StatusCode::BAD_REQUEST,
        title: "The form was not complete",
        text: "It holds no decision.",
        hint: None,
        actions: vec![("Back to the form", resume)],
    })
}

/// No upstream of that label.
pub(super) fn no_such_server() -> Response {
    let text = "The address does not lead to a server that this gateway may use.";
    message(StatusCode::NOT_FOUND, "There is no such server here", text, "Check the address in the application.")
}

fn message(status: StatusCode, title: &str, text: &str, hint: &str) -> Response {
    page::message(&MessagePage { status, title, text, hint: Some(hint), actions: Vec::new() })
}

/// A fault of ours, on a page.
pub(super) struct FaultPage(Fault);

impl From<Fault> for FaultPage {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for FaultPage {
    fn into_response(self) -> Response {
        tracing::error!(error = %self.0, "a sign-in failed");
        message(self.0.status(), "Something went wrong", &self.0.public, "Try again in a moment.")
    }
}
