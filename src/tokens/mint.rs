//! Making an access token: a JWT of type `at+jwt` (RFC 9068).

use super::AccessTokens;
use crate::error::Fault;
use crate::ids::GrantId;
use crate::store::User;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
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
    /// The client that acts for the person with a token that was exchanged for the person's (RFC 8693 §4.1).
    pub actor: Option<&'a str>,
    /// The SHA-256 thumbprint of the key that the token is bound to (RFC 9449 §6.1).
    pub confirmation: Option<&'a str>,
}

/// The `typ` of our tokens (RFC 9068 §2.1).
pub(super) const TYPE: &str = "at+jwt";

/// The claims of our tokens (RFC 9068 §2.2); `gid` is the grant, `username` and `email` are for the upstream's logs.
#[derive(Serialize)]
struct Claims {
    iss: Box<str>,
    aud: Box<str>,
    sub: Box<str>,
    username: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Box<str>>,
    client_id: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: Box<str>,
    jti: Box<str>,
    gid: Box<str>,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// `act` (RFC 8693 §4.1).
#[derive(Serialize, Deserialize)]
pub(super) struct Actor {
    pub(super) sub: Box<str>,
}

/// `cnf` (RFC 7800 §3.1, RFC 9449 §6.1).
#[derive(Serialize, Deserialize)]
pub(super) struct Confirmation {
    pub(super) jkt: Box<str>,
}

impl AccessTokens {
    /// Signs a token.
    ///
    /// # Errors
    /// When signing fails, which only a damaged key can cause.
    pub fn mint(&self, new: &NewToken<'_>) -> Result<String, Fault> {
        let now = self.clock.now();
        let claims = Claims {
            iss: new.issuer.into(),
            aud: new.resource.into(),
            sub: new.user.id.to_string().into(),
            username: new.user.name.as_str().into(),
            email: new.user.email.as_deref().map(Into::into),
            client_id: new.client_id.into(),
            scope: new.scope.into(),
            jti: HEXLOWER.encode(&self.random.bytes::<16>()).into(),
            gid: new.grant.to_string().into(),
            iat: now.seconds(),
            exp: now.after(new.ttl).seconds(),
            act: new.actor.map(|client| Actor { sub: client.into() }),
            cnf: new.confirmation.map(|thumbprint| Confirmation { jkt: thumbprint.into() }),
        };
        let key = self.keys.signing();
        jsonwebtoken::encode(&key.header, &claims, &key.encoding)
            .map_err(|error| Fault::gateway(format_args!("signing an access token: {error}")))
    }
}
