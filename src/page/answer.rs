//! From a template to an answer, with the headers of every page.

use super::assets;
use super::place::{Account, Place};
use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

/// `form-action` stays out on purpose: Chromium applies it to the redirect that follows a form, and the one that follows
/// the consent form goes to the client.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                                       frame-ancestors 'none'; base-uri 'none'";

/// The same, and scripts may send requests to us.
const TALKING_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' \
                              data:; frame-ancestors 'none'; base-uri 'none'";

/// `Referrer-Policy` is not `no-referrer`, with which browsers send `Origin: null` on our own forms, and `csrf::check`
/// insists on our own origin.
const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The frame around a page's own content; templates reach it as `frame`.
pub(super) struct Frame<'a> {
    /// Who is signed in, for the bar on top.
    pub(super) account: Option<&'a Account<'a>>,
    /// Which room of the dashboard this is; none on the way to one.
    pub(super) place: Option<Place>,
}

impl<'a> Frame<'a> {
    /// A room of the dashboard, with the ways to the others.
    pub(super) fn at(place: Place, account: &'a Account<'a>) -> Self {
        Self { account: Some(account), place: Some(place) }
    }

    /// A page with the account of the person in its bar.
    pub(super) fn of(account: Option<&'a Account<'a>>) -> Self {
        Self { account, place: None }
    }

    /// A page that shows nothing but its own business.
    pub(super) fn bare() -> Frame<'static> {
        Frame::of(None)
    }

    /// The address of a static file.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }

    /// The rooms that the person may enter: name, address, whether this is it.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let (here, administrator) = (self.place, self.account.is_some_and(|account| account.administrator));
        let rooms = Place::ALL.into_iter().filter(move |place| administrator || !place.is_for_administrators());
        rooms.map(move |place| (place.name(), place.address(), Some(place) == here))
    }
}

/// Renders a page whose scripts send requests to us.
pub(super) fn talking_page(status: StatusCode, template: &impl Template) -> Response {
    let mut response = page(status, template);
    let policy = HeaderValue::from_static(TALKING_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Renders a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    let mut response = match template.render() {
        Ok(html) => (status, html).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "an internal error occurred").into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
