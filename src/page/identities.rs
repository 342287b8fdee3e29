//! The page of a person's identities at providers.

use super::answer::{Frame, page};
use super::people::Account;
use super::plain;
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// Who a person is elsewhere, and where else they could link an identity.
pub struct IdentitiesPage<'a> {
    /// Who.
    pub account: Account<'a>,
    /// What has just happened.
    pub notice: Option<String>,
    /// The identities.
    pub identities: Vec<IdentityRow<'a>>,
    /// Name and label of every provider.
    pub providers: Vec<(&'a str, &'a str)>,
}

/// An identity in words.
pub struct IdentityRow<'a> {
    /// With the subject: which one.
    pub issuer: String,
    /// With the issuer: which one.
    pub subject: String,
    /// The provider, for people.
    pub provider: String,
    /// What the person is called there.
    pub name: &'a str,
    /// The verified address.
    pub email: Option<String>,
    /// How long ago it was used last.
    pub used: String,
}

/// The page.
pub fn identities(page: &IdentitiesPage<'_>) -> Response {
    let names = page.identities.iter().map(|row| plain::name(row.name)).collect();
    self::page(StatusCode::OK, &Identities { frame: Frame::of(Some(&page.account)), names, page })
}

#[derive(Template)]
#[template(path = "identities.html")]
struct Identities<'a> {
    frame: Frame<'a>,
    /// As they may be shown, in the order of the rows.
    names: Vec<String>,
    page: &'a IdentitiesPage<'a>,
}
