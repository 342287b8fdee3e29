//! Client authentication at the token and revocation endpoints (RFC 6749 §2.3): exactly the registered method.

use super::Issuer;
use super::clients::{KnownClient, NoClient};
use super::parameters::Parameters;
use super::reply::Refused;
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::Code;
use crate::oauth::registration::AuthMethod;
use crate::secret::Secret;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, header};

/// What a request offers.
struct Offer {
    id: String,
    method: AuthMethod,
    secret: Option<Secret>,
}

impl Issuer {
    /// The client of a request, once it has proved who it is.
    ///
    /// # Errors
    /// `invalid_client` with status 401, and a `Basic` challenge where Basic was tried; `invalid_request` for two methods
    /// at once.
    pub(super) async fn authenticate(
        &self,
        realm: &Realm,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<KnownClient, Refused> {
        let offer = Offer::of(headers, form)?;
        let client = match self.client(realm, &offer.id).await {
            Ok(client) => client,
            Err(NoClient::Unknown) => return Err(refused(offer.method, "the client is not registered here")),
            Err(NoClient::Document(_)) => {
                return Err(refused(offer.method, "the client metadata document is not valid"));
            }
            Err(NoClient::Unreachable(_)) => {
                let description = "the client metadata document cannot be fetched at the moment";
                return Err(Refused::because(Code::TemporarilyUnavailable, description));
            }
            Err(NoClient::Failed(fault)) => return Err(fault.into()),
        };
        if offer.method != client.metadata.auth_method {
            return Err(refused(offer.method, "the client must authenticate with its registered method"));
        }
        let proved = match (&client.secret, &offer.secret) {
            (None, None) => true,
            (Some(expected), Some(sent)) => expected.matches(&Digest::of(sent.expose())),
            _ => false,
        };
        if proved { Ok(client) } else { Err(refused(offer.method, "the client secret is wrong")) }
    }
}

impl Offer {
    fn of(headers: &HeaderMap, form: &Parameters) -> Result<Self, Refused> {
        let in_form = form.get("client_secret");
        if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
            return Err(Refused::because(Code::InvalidRequest, "there is more than one Authorization header"));
        }
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            let id = form.get("client_id").ok_or_else(|| refused(AuthMethod::None, "client_id is missing"))?.to_owned();
            let secret = in_form.map(|secret| Secret::new(secret.to_owned()));
            let method = if secret.is_some() { AuthMethod::ClientSecretPost } else { AuthMethod::None };
            return Ok(Self { id, method, secret });
        };
        if in_form.is_some() {
            return Err(Refused::because(Code::InvalidRequest, "use one client authentication method, not two"));
        }
        let (id, secret) = basic(authorization)
            .ok_or_else(|| refused(AuthMethod::ClientSecretBasic, "the Authorization header is not valid Basic"))?;
        if form.get("client_id").is_some_and(|other| other != id) {
            return Err(Refused::because(Code::InvalidRequest, "client_id differs from the authenticated client"));
        }
        Ok(Self { id, method: AuthMethod::ClientSecretBasic, secret: Some(secret) })
    }
}

/// Identifier and secret of a Basic header; both are form-encoded before they are joined (RFC 6749 §2.3.1).
fn basic(header: &HeaderValue) -> Option<(String, Secret)> {
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

fn refused(tried: AuthMethod, description: &'static str) -> Refused {
    let challenge = (tried == AuthMethod::ClientSecretBasic)
        .then(|| HeaderValue::from_static("Basic realm=\"token endpoint\", charset=\"UTF-8\""));
    Refused { challenge, ..Refused::because(Code::InvalidClient, description) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(authorization: Option<&str>, form: &str) -> Result<(String, AuthMethod, Option<String>), (Code, bool)> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        Offer::of(&headers, &Parameters::parse(form.as_bytes()))
            .map(|offer| (offer.id, offer.method, offer.secret.map(|secret| secret.expose().to_owned())))
            .map_err(|refused| (refused.error.error, refused.challenge.is_some()))
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
    }
}
