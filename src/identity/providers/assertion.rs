//! Identity assertions for the token endpoint (ID-JAG, draft-ietf-oauth-identity-assertion-authz-grant): a provider says that
//! a client may act for a person whom both know. Whether that is meant for us, now, is the token endpoint's to say.

use super::{Kind, Providers};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::jose::{self, Signed};
use serde::Deserialize;
use serde_json::Value;

/// The `typ` of such an assertion (§3.1).
const TYPE: &str = "oauth-id-jag+jwt";

/// An assertion that a provider which is trusted with them has signed. Its existence is the proof; fields are for reading.
#[derive(Debug, Deserialize)]
pub struct IdentityAssertion {
    /// The provider's issuer identifier, as it is configured.
    pub iss: String,
    /// What the provider calls the person for good.
    pub sub: String,
    /// Whom it is meant for.
    pub aud: OneOrMore,
    /// Which client of ours may act for the person.
    pub client_id: String,
    /// Its name, unique at its issuer.
    pub jti: String,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    /// What it is for (RFC 8707).
    pub resource: Option<OneOrMore>,
    /// How much, space-separated.
    pub scope: Option<String>,
    /// The tenant within which `sub` is unique, at an issuer that has many.
    pub tenant: Option<Value>,
    /// The key that must prove itself beside the assertion (RFC 7800).
    pub cnf: Option<Value>,
}

/// A text or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// A list, which may have one as well.
    More(Vec<String>),
}

impl OneOrMore {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

/// Why an assertion is not believed.
#[derive(Debug)]
pub enum NotAsserted {
    /// It is not one, or nobody whom we trust has signed it: a few words for the client.
    Untrusted(String),
    /// The provider's keys cannot be had at the moment.
    Unavailable(Fault),
}

impl Providers {
    /// Whether any provider is trusted with assertions (`id_jag`).
    pub fn make_assertions(&self) -> bool {
        self.oidc().any(|provider| provider.is_asserting())
    }

    /// An assertion whose signature is that of a provider which is trusted with them.
    ///
    /// # Errors
    /// [`NotAsserted`]. Nobody is asked for keys unless the assertion names an issuer that is trusted.
    pub async fn assertion(&self, token: &str) -> Result<IdentityAssertion, NotAsserted> {
        let untrusted = |why: &str| NotAsserted::Untrusted(why.to_owned());
        let named: Issuer = jose::unverified_claims(token).map_err(|_| untrusted("it is not a signed JWT"))?;
        let provider = self.oidc().find(|provider| provider.asserts(&named.iss));
        let provider = provider.ok_or_else(|| untrusted("its issuer is not trusted with assertions here"))?;
        let Signed { typ, claims } = provider.verify::<IdentityAssertion>(&self.tools, token).await?;
        // So that an ID token of the same issuer is not taken for an assertion (RFC 8725 §3.11).
        let typ = typ.unwrap_or_default().to_ascii_lowercase();
        if typ.strip_prefix("application/").unwrap_or(&typ) != TYPE {
            return Err(untrusted("its typ is not oauth-id-jag+jwt"));
        }
        Ok(claims)
    }

    fn oidc(&self) -> impl Iterator<Item = &super::Oidc> {
        self.list.iter().filter_map(|provider| match &provider.kind {
            Kind::Oidc(oidc) => Some(&**oidc),
            Kind::GitHub(_) => None,
        })
    }
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

#[allow(clippy::cast_possible_truncation)] // saturates, and whole seconds are meant
impl IdentityAssertion {
    /// When it expires.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.exp as i64)
    }

    /// From when on it holds: when it was made, or later where it says so.
    pub fn holds_from(&self) -> Timestamp {
        Timestamp(self.nbf.unwrap_or(self.iat).max(self.iat) as i64)
    }
}
