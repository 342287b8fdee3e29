//! DPoP at the token endpoint (RFC 9449 §5, §10): whose key the new tokens are bound to, and whether a code or a refresh token
//! may be used with it.

use super::Issuer;
use super::clients::KnownClient;
use super::reply::Refused;
use super::token::TokenRequest;
use crate::hostname::Realm;
use crate::oauth::error::Code;
use crate::tokens::{Purpose, Unproven};
use http::{HeaderMap, HeaderValue};

impl Issuer {
    /// The thumbprint of the key that a token request proves to have; `None` for one without a proof.
    ///
    /// # Errors
    /// `invalid_dpop_proof`, `use_dpop_nonce`; `invalid_request` when the client registered that it always sends proofs.
    pub(super) async fn possession(
        &self,
        realm: &Realm,
        headers: &HeaderMap,
        client: &KnownClient,
    ) -> Result<Option<String>, Refused> {
        let url = format!("{}/token", self.site.issuer(realm));
        let thumbprint =
            self.tokens.proofs().check(headers, &Purpose { method: "POST", url: &url, token: None }).await?;
        if thumbprint.is_none() && client.metadata.dpop_bound {
            let description = "the client registered dpop_bound_access_tokens: a DPoP header is needed";
            return Err(Refused::because(Code::InvalidRequest, description));
        }
        Ok(thumbprint)
    }
}

impl TokenRequest<'_> {
    /// Whether this request comes from the key that a code or a refresh token is bound to, if it is.
    ///
    /// # Errors
    /// `invalid_dpop_proof` without a proof, `invalid_grant` with that of another key. Nothing is consumed.
    pub(super) fn check_binding(&self, issuer: &Issuer, bound_to: Option<&str>) -> Result<(), Refused> {
        match (bound_to, self.key) {
            (None, _) => Ok(()),
            (Some(expected), Some(key)) if expected == key => Ok(()),
            (Some(_), Some(_)) => Err(Refused::because(Code::InvalidGrant, "it is bound to another DPoP key")),
            (Some(_), None) => Err(issuer.tokens.proofs().missing().into()),
        }
    }

    /// What a new refresh token is bound to: that of a public client to its key; a confidential client proves itself by other
    /// means (RFC 9449 §5).
    pub(super) fn binds_refresh_token_to(&self) -> Option<String> {
        self.key.filter(|_| !self.client.has_proved_itself).map(str::to_owned)
    }
}

impl From<Unproven> for Refused {
    fn from(unproven: Unproven) -> Self {
        let (code, why, nonce) = match unproven {
            Unproven::Refused { code, why, nonce } => (code, why, nonce),
            Unproven::Failed(fault) => return fault.into(),
        };
        Self { dpop_nonce: HeaderValue::try_from(nonce).ok(), ..Self::because(code, why) }
    }
}
