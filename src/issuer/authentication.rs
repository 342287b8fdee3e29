//! Client authentication at the token endpoint and its neighbours (RFC 6749 §2.3): exactly the registered method.

use super::clients::{KnownClient, NoClient};
use super::parameters::Parameters;
use super::reply::Refused;
use super::{Issuer, assertion};
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::registration::AuthMethod;
use crate::secret::Secret;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, header};
use std::borrow::Cow;

/// What a request offers.
struct Offer {
    id: String,
    proof: Proof,
}

enum Proof {
    Nothing,
    Basic(Secret),
    Post(Secret),
    Assertion(String),
}

impl Issuer {
    /// The client of a request, once it has proved who it is.
    ///
    /// # Errors
    /// `invalid_client` with status 401, and a `Basic` challenge where Basic was tried; `invalid_request` for two methods
    /// at once; `temporarily_unavailable` while its document or its keys cannot be fetched.
    pub(super) async fn authenticate(
        &self,
        realm: &Realm,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<KnownClient, Refused> {
        let Offer { id, proof } = Offer::of(headers, form)?;
        let method = proof.method();
        let client = match self.client(realm, &id).await {
            Ok(client) => client,
            Err(NoClient::Unknown) => return Err(refused(method, "the client is not registered here")),
            Err(NoClient::Expired) => return Err(refused(method, "the registration has expired: register again")),
            Err(NoClient::Document(_)) => return Err(refused(method, "the client metadata document is not valid")),
            Err(NoClient::Unreachable(_)) => {
                let description = "the client metadata document cannot be fetched at the moment";
                return Err(Refused::because(Code::TemporarilyUnavailable, description));
            }
            Err(NoClient::Failed(fault)) => return Err(fault.into()),
        };
        if !client.metadata.accepts(method) {
            return Err(refused(method, "the client must authenticate with its registered method"));
        }
        match (&proof, &client.secret) {
            (Proof::Nothing, _) => {}
            (Proof::Basic(sent) | Proof::Post(sent), Some(expected))
                if expected.matches(&Digest::of(sent.expose())) => {}
            (Proof::Assertion(assertion), _) => assertion::verify(self, realm, &client, assertion).await?,
            _ => return Err(refused(method, "the client secret is wrong")),
        }
        Ok(KnownClient { has_proved_itself: method != AuthMethod::None, ..client })
    }
}

impl Proof {
    fn method(&self) -> AuthMethod {
        match self {
            Self::Nothing => AuthMethod::None,
            Self::Basic(_) => AuthMethod::ClientSecretBasic,
            Self::Post(_) => AuthMethod::ClientSecretPost,
            Self::Assertion(_) => AuthMethod::PrivateKeyJwt,
        }
    }
}

impl Offer {
    fn of(headers: &HeaderMap, form: &Parameters) -> Result<Self, Refused> {
        let bad_request = |description| Refused::because(Code::InvalidRequest, description);
        if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
            return Err(bad_request("there is more than one Authorization header"));
        }
        let offered = (headers.get(header::AUTHORIZATION), form.get("client_secret"), form.get("client_assertion"));
        let named = form.get("client_id");
        let (id, proof) = match offered {
            (None, None, None) => (named.map(str::to_owned), Proof::Nothing),
            (None, Some(secret), None) => (named.map(str::to_owned), Proof::Post(Secret::new(secret.to_owned()))),
            (None, None, Some(assertion)) => {
                if form.get("client_assertion_type") != Some(assertion::TYPE) {
                    return Err(bad_request("client_assertion_type must be that of a JWT (RFC 7523)"));
                }
                // Whom it is about is believed only once the signature has been verified.
                let id = named.map(str::to_owned).or_else(|| assertion::subject(assertion));
                (id, Proof::Assertion(assertion.to_owned()))
            }
            (Some(authorization), None, None) => {
                let (id, secret) = basic(authorization).ok_or_else(|| {
                    refused(AuthMethod::ClientSecretBasic, "the Authorization header is not valid Basic")
                })?;
                if named.is_some_and(|other| other != id) {
                    return Err(bad_request("client_id differs from the authenticated client"));
                }
                (Some(id), Proof::Basic(secret))
            }
            _ => return Err(bad_request("use one client authentication method, not two")),
        };
        let id = id.ok_or_else(|| refused(proof.method(), "client_id is missing"))?;
        Ok(Self { id, proof })
    }
}

/// Identifier and secret of a Basic header; both are form-encoded before they are joined (RFC 6749 §2.3.1).
pub(super) fn basic(header: &HeaderValue) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let joined = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (id, secret) = joined.split_once(':')?;
    Some((form_decoded(id), Secret::new(form_decoded(secret))))
}

fn form_decoded(text: &str) -> String {
    // A single name without value: the decoder of the form, applied to one piece of it.
    let piece = text.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(piece.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn refused(tried: AuthMethod, description: impl Into<Cow<'static, str>>) -> Refused {
    let challenge = (tried == AuthMethod::ClientSecretBasic)
        .then(|| HeaderValue::from_static("Basic realm=\"token endpoint\", charset=\"UTF-8\""));
    Refused { challenge, ..OauthError::new(Code::InvalidClient, description).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(authorization: Option<&str>, form: &str) -> Result<(String, AuthMethod, Option<String>), (Code, bool)> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let offer = Offer::of(&headers, &Parameters::parse(form.as_bytes()));
        let described = offer.map(|Offer { id, proof }| {
            let method = proof.method();
            let text = match proof {
                Proof::Nothing => None,
                Proof::Basic(secret) | Proof::Post(secret) => Some(secret.expose().to_owned()),
                Proof::Assertion(text) => Some(text),
            };
            (id, method, text)
        });
        described.map_err(|refused| (refused.error.error, refused.challenge.is_some()))
    }

    #[test]
    fn b20_b22_what_a_request_offers() {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        assert_eq!(offer(None, "client_id=a"), Ok(("a".into(), AuthMethod::None, None)));
        assert_eq!(
            offer(None, "client_id=a&client_secret=s"),
            Ok(("a".into(), AuthMethod::ClientSecretPost, Some("s".into())))
        );
        assert_eq!(
            offer(Some(&basic("a%20b:s%2Bt&=+")), ""),
            Ok(("a b".into(), AuthMethod::ClientSecretBasic, Some("s+t&= ".into())))
        );
        assert_eq!(offer(Some(&basic("a:s")), "client_id=a&client_secret=s"), Err((Code::InvalidRequest, false)));
        assert_eq!(offer(Some(&basic("a:s")), "client_id=b"), Err((Code::InvalidRequest, false)));
        assert_eq!(offer(Some("Basic !!!"), "client_id=a"), Err((Code::InvalidClient, true)));
        assert_eq!(offer(Some("Bearer x"), "client_id=a"), Err((Code::InvalidClient, true)));
        assert_eq!(offer(None, ""), Err((Code::InvalidClient, false)));
        // {"sub":"c"}
        let assertion = "x.eyJzdWIiOiJjIn0.x";
        let form = format!("client_assertion_type={}&client_assertion={assertion}", assertion::TYPE);
        let offered = |id: &str| Ok((id.to_owned(), AuthMethod::PrivateKeyJwt, Some(assertion.to_owned())));
        assert_eq!(offer(None, &form), offered("c"));
        assert_eq!(offer(None, &format!("{form}&client_id=d")), offered("d"));
        assert_eq!(offer(None, &format!("{form}&client_secret=s")), Err((Code::InvalidRequest, false)));
        assert_eq!(offer(Some(&basic("c:s")), &form), Err((Code::InvalidRequest, false)));
        assert_eq!(offer(None, "client_id=a&client_assertion=x"), Err((Code::InvalidRequest, false)));
    }
}
