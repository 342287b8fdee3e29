//! Pages for people: one layout, escaped by default.

use axum::response::{IntoResponse, Response};

/// A page.
pub struct Html(pub String);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        axum::response::Html(self.0).into_response()
    }
}

/// What the consent page shows.
#[allow(missing_docs)]
pub struct ConsentPage<'a> {
    pub client_name: &'a str,
    pub client_id: &'a str,
    pub client_uri: Option<&'a str>,
    pub verified_host: Option<&'a str>,
    pub redirect_host: &'a str,
    pub redirect_warning: Option<&'a str>,
    pub resource: &'a str,
    pub upstream_name: &'a str,
    pub account: Option<&'a str>,
    pub scopes: Vec<&'a str>,
    pub user: &'a str,
    pub action: &'a str,
    pub flow: &'a str,
    pub csrf_token: &'a str,
}

/// What the approval page shows.
#[allow(missing_docs)]
pub struct ApprovalPage<'a> {
    pub domain: &'a str,
    pub label: &'a str,
    pub client_name: &'a str,
    pub redirect_host: &'a str,
    pub user: &'a str,
    pub action: &'a str,
    pub flow: &'a str,
    pub csrf_token: &'a str,
}

/// A message.
#[allow(missing_docs)]
pub struct MessagePage<'a> {
    pub status: http::StatusCode,
    pub title: &'a str,
    pub text: &'a str,
    pub hint: Option<&'a str>,
    pub actions: Vec<(&'a str, &'a str)>,
}

/// Asks for consent.
pub fn consent(page: &ConsentPage<'_>) -> Response {
    Html(format!("consent {} {} {}", page.action, page.flow, page.csrf_token)).into_response()
}

/// Asks for approval.
pub fn approval(page: &ApprovalPage<'_>) -> Response {
    Html(format!("approval {} {} {}", page.action, page.flow, page.csrf_token)).into_response()
}

/// Says something.
pub fn message(page: &MessagePage<'_>) -> Response {
    (page.status, Html(format!("{}: {}", page.title, page.text))).into_response()
}
