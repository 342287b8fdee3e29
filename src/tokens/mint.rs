//! Making an access token: a JWT of type `at+jwt` (RFC 9068).

use super::AccessTokens;
use crate::ids::GrantId;
use crate::store::User;
use std::time::Duration;

/// What a new token says.
pub struct NewToken<'a> {
    /// The realm's issuer identifier.
    pub issuer: &'a str,
    /// The resource, exactly as it was asked for (RFC 8707).
    pub resource: &'a str,
    /// Whose.
    pub user: &'a User,
    /// For which client.
    pub client_id: &'a str,
    /// Space-separated; may be empty.
    pub scope: &'a str,
    /// Under which grant.
    pub grant: GrantId,
    /// How long it lives.
    pub ttl: Duration,
}

impl AccessTokens {
    /// Signs a token.
    ///
    /// # Errors
    /// When signing fails, which only a damaged key can cause.
    pub fn mint(&self, new: &NewToken<'_>) -> Result<String, crate::error::Fault> {
        let _ = new;
        todo!()
    }
}
