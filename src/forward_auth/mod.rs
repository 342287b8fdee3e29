//! The door for other proxies (ForwardAuth): nginx, Caddy and Traefik ask about each request of theirs whether somebody is
//! signed in, and who. Everything they ask about was written by a stranger; only what a trusted proxy adds is believed.

mod answer;
mod requirement;

use crate::hostname::{HostName, Realm, Site};
use crate::request::TrustedProxy;
use crate::session::Sessions;
use crate::store::{Store, User};
use crate::tokens::{AccessToken, AccessTokens};
use crate::upstream::Registry;
use answer::{Reader, Refused};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, header};
use requirement::Requirement;
use std::sync::Arc;

/// Everything the answers come from.
pub struct ForwardAuth {
    /// Our names.
    pub site: Site,
    /// Access tokens.
    pub tokens: Arc<AccessTokens>,
    /// Browsers.
    pub sessions: Arc<Sessions>,
    /// People and groups.
    pub store: Store,
    /// Who may use what.
    pub registry: Arc<Registry>,
}

/// `/verify`, on the root domain. Requests of trusted proxies carry a [`TrustedProxy`].
pub fn routes(door: Arc<ForwardAuth>) -> Router {
    Router::new().route("/verify", get(verify).post(verify)).with_state(door)
}

/// Somebody who may pass.
struct Passed {
    user: User,
    groups: Vec<String>,
    /// Empty for a browser.
    client_id: Box<str>,
}

async fn verify(
    State(door): State<Arc<ForwardAuth>>,
    proxy: Option<Extension<TrustedProxy>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let named = proxy.and_then(|_| named_host(&headers)).map(|host| door.site.classify(host));
    let reader = Reader::new(&door.site, named.as_ref(), &headers);
    let checked = async {
        let requirement = Requirement::parse(query.as_deref().unwrap_or_default())?;
        let passed = door.admit(&headers, named.as_ref()).await?;
        requirement.check(&passed.user, &passed.groups)?;
        Ok::<_, Refused>(passed)
    };
    match checked.await {
        Ok(passed) => answer::passed(&passed).into_response(),
        Err(refused) => answer::refused(&refused, &reader),
    }
}

impl ForwardAuth {
    /// A token, when there is one, decides alone: one that is not good is not made up for by a cookie beside it.
    async fn admit(&self, headers: &HeaderMap, named: Option<&HostName>) -> Result<Passed, Refused> {
        let (user, client_id) = match token_of(headers)? {
            Some(token) => {
                let token = self.tokens.verified(token).await?;
                self.check_token(&token, named)?;
                let user = self.store.user(token.user).await?.filter(|user| !user.disabled);
                (user.ok_or(Refused::InvalidToken)?, token.client_id.clone())
            }
            None => {
                let signed_in = self.sessions.find(headers).await?.ok_or(Refused::NobodySignedIn)?;
                self.check_page(headers)?;
                (User::clone(&signed_in.user), Box::default())
            }
        };
        let groups = self.store.groups_of(user.id).await?;
        Ok(Passed { user, groups, client_id })
    }

    /// A cookie comes along whatever page sends the request, and upstreams are siblings of our domain: `SameSite` does not
    /// keep their pages out. Other pages may lead here, which sends no `Origin`, and nothing else.
    fn check_page(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let root = self.site.root_origin();
        let own_origin = headers.get_all(header::ORIGIN).iter().all(|origin| origin == root.as_str());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let own_page = matches!(text("sec-fetch-site"), None | Some("same-origin" | "none"));
        if own_origin && (own_page || text("sec-fetch-mode") == Some("navigate")) {
            Ok(())
        } else {
            Err(Refused::ForeignPage)
        }
    }

    /// Whose token it is: the root's, or that of the hostname that a trusted proxy names. One that is bound to a key
    /// (RFC 9449) is no bearer token, and its proof is for another address than ours.
    fn check_token(&self, token: &AccessToken, named: Option<&HostName>) -> Result<(), Refused> {
        if token.confirmation.is_some() {
            return Err(Refused::InvalidToken);
        }
        let is_of = |origin: &str| *token.issuer == *origin && is_within(&token.audience, origin);
        if is_of(&self.site.root_origin()) {
            return Ok(());
        }
        match named {
            Some(HostName::Mcp(label)) if is_of(&self.site.issuer(&Realm::Mcp(label.clone()))) => {
                let upstream = self.registry.find(label).ok_or(Refused::InvalidToken)?;
                match self.registry.may_use(token.user, &upstream.authority) {
                    true => Ok(()),
                    false => Err(Refused::NotPermitted),
                }
            }
            _ => Err(Refused::InvalidToken),
        }
    }
}

/// Whether an audience is a resource of this origin.
fn is_within(audience: &str, origin: &str) -> bool {
    audience.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The one host that a proxy says was asked for; more than one is none.
fn named_host(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("x-forwarded-host").iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.trim();
    (!value.is_empty() && !value.contains(',')).then_some(value)
}

/// The bearer token of a request (RFC 6750 §2.1). Credentials of other schemes are not for us, but those of DPoP
/// (RFC 9449 §7.1) are ours and cannot be used here.
fn token_of(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::BadRequest("more than one Authorization header".to_owned()));
    }
    let text = value.to_str().map_err(|_| Refused::InvalidToken)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    match scheme {
        scheme if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(rest.trim_start_matches(' '))),
        scheme if scheme.eq_ignore_ascii_case("dpop") => Err(Refused::InvalidToken),
        _ => Ok(None),
    }
}
