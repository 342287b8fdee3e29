//! Who may come in: an administrator with an access token or a session, or a program with an API key. Handlers get at what they work with through
//! an [`Administrator`], and only this module makes one.

use super::problem::Problem;
use crate::activity::Activity;
use crate::administration::{Actor, Administration};
use crate::apikey::{ApiKey, ApiKeyError, ApiScope};
use crate::csrf;
use crate::hostname::{Realm, Site};
use crate::ids::UserId;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::scheme::Scheme;
use crate::oauth::scope::{ADMIN, Scopes};
use crate::paths::{self, API};
use crate::ratelimit::RateLimits;
use crate::request::Arrival;
use crate::session::Sessions;
use crate::store::{Role, User};
use crate::tokens::{AccessToken, AccessTokens, Purpose, Unproven, Unverified};
use axum::extract::FromRequestParts;
use http::request::Parts as Head;
use http::{HeaderMap, header};
use std::sync::Arc;

/// Where a page of ours puts the token of its session.
const CSRF_TOKEN: &str = "x-csrf-token";

/// What the API works with.
pub struct Parts {
    /// Our names.
    pub site: Site,
    /// What administrators do.
    pub administration: Arc<Administration>,
    /// What happened.
    pub activity: Arc<Activity>,
    /// Access tokens.
    pub tokens: Arc<AccessTokens>,
    /// Browsers.
    pub sessions: Arc<Sessions>,
    /// How often somebody may call.
    pub limits: Arc<RateLimits>,
}

/// The state of the routes. Its fields are nobody's but this module's.
pub struct Api(Parts);

impl Api {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        Self(parts)
    }
}

/// Proof that an administrator asks, and the way to what administrators do.
pub(super) struct Administrator {
    actor: Actor,
    administration: Arc<Administration>,
    activity: Arc<Activity>,
}

impl Administrator {
    /// For the audit log.
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What can be done.
    pub(super) fn may(&self) -> &Administration {
        &self.administration
    }

    /// What happened.
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl FromRequestParts<Arc<Api>> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, api: &Arc<Api>) -> Result<Self, Problem> {
        let arrival = head.extensions.get::<Arrival>().cloned();
        let arrival = arrival.ok_or_else(|| crate::error::Fault::gateway("a request to the API has no address"))?;
        let actor = api.0.identify(head, &arrival).await?;
        Ok(Self { actor, administration: api.0.administration.clone(), activity: api.0.activity.clone() })
    }
}

impl Parts {
    /// Who asks. An `Authorization` header is never ignored in favour of a cookie.
    async fn identify(&self, head: &Head, arrival: &Arrival) -> Result<Actor, Problem> {
        match self.administration.api_keys.authenticate(&head.headers).await {
            Ok(Some(key)) => return self.with_key(&key, arrival),
            Ok(None) => {}
            Err(ApiKeyError::Invalid) => {
                return Err(
                    self.invalid("the API key is wrong, revoked or expired: `portcullis apikey create` makes one")
                );
            }
            Err(ApiKeyError::Failed(fault)) => return Err(fault.into()),
        }
        let user = match presented(&head.headers) {
            Ok(Some(token)) => self.with_token(head, &token).await?,
            Ok(None) => self.with_session(head).await?,
            Err(Unreadable) => {
                return Err(self.invalid("the Authorization header is not `Bearer` (or `DPoP`) and one token"));
            }
        };
        self.limits.check_user(user.id)?;
        if user.role != Role::Administrator {
            return Err(Problem::forbidden(format!(
                "{} does not administer this gateway: ask an administrator for that role",
                user.name
            )));
        }
        Ok(Actor::person(&user, arrival.client))
    }

    fn with_key(&self, key: &ApiKey, arrival: &Arrival) -> Result<Actor, Problem> {
        self.limits.check_client(&key.actor())?;
        match key.allows(ApiScope::Admin) {
            true => Ok(Actor::key(key, arrival.client)),
            false => Err(self.insufficient("the API key lacks the scope admin: make one that has it")),
        }
    }

    async fn with_token(&self, head: &Head, presented: &Presented<'_>) -> Result<User, Problem> {
        let refused =
            || self.invalid("the access token is invalid, expired or revoked, or for another resource: get a new one");
        let token = self.tokens.verified(presented.token).await.map_err(|unverified| match unverified {
            Unverified::Invalid => refused(),
            Unverified::Outdated(outdated) => outdated.into(),
        })?;
        if !self.is_for_us(&token) {
            return Err(refused());
        }
        self.limits.check_client(&token.client_id)?;
        if !Scopes::parse(&token.scope).is_ok_and(|scopes| scopes.contains(ADMIN)) {
            return Err(self.insufficient("the access token lacks the scope admin: ask for it"));
        }
        match (presented.with_proof, token.confirmation.as_deref()) {
            (false, None) => {}
            (true, Some(key)) => self.prove(head, (presented.token, key)).await?,
            (true, None) => return Err(refused()),
            (false, Some(_)) => {
                return Err(self.invalid("the access token is bound to a key: send it as `DPoP`, with a proof"));
            }
        }
        self.person(token.user).await?.ok_or_else(refused)
    }

    /// Whether the caller has the key that its token is bound to (RFC 9449 §7). Comes last: a proof is used up by looking
    /// at it.
    async fn prove(&self, head: &Head, token: (&str, &str)) -> Result<(), Problem> {
        // The router has taken the prefix off.
        let url = format!("{}{API}{}", self.site.root_origin(), head.uri.path());
        let purpose = Purpose { method: head.method.as_str(), url: &url, token: Some(token) };
        let unproven = match self.tokens.proofs().check(&head.headers, &purpose).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => self.tokens.proofs().missing(),
            Err(unproven) => unproven,
        };
        match unproven {
            Unproven::Refused { code, why, nonce } => {
                let challenge = BearerChallenge { error: Some(code.as_str().to_owned()), ..self.challenge() };
                Err(Problem::unproven(&challenge, why, nonce))
            }
            Unproven::Failed(fault) => Err(fault.into()),
        }
    }

    async fn with_session(&self, head: &Head) -> Result<User, Problem> {
        let Some(person) = self.sessions.find(&head.headers).await? else {
            let how = "show who you are: send an access token or an API key as `Authorization: Bearer`, or sign in";
            return Err(Problem::unauthorized(&self.challenge(), how));
        };
        if !head.method.is_safe() {
            let sent = head.headers.get(CSRF_TOKEN).and_then(|token| token.to_str().ok());
            csrf::check(&self.site, &head.headers, &person.csrf_token, sent).map_err(|_| {
                Problem::forbidden(
                    "a change that is asked for with a session must come from a page of this gateway, with the session's \
                     token in X-CSRF-Token: programs send an access token or an API key instead",
                )
            })?;
        }
        Ok(User::clone(&person.user))
    }

    /// Somebody who may still sign in.
    async fn person(&self, id: UserId) -> Result<Option<User>, Problem> {
        let user = self.administration.store.user(id).await.map_err(crate::error::Fault::from)?;
        Ok(user.filter(|user| !user.disabled))
    }

    fn is_for_us(&self, token: &AccessToken) -> bool {
        let root = self.site.root_origin();
        *token.issuer == *self.site.issuer(&Realm::Root) && token.audience.strip_prefix(&root) == Some(API)
    }

    fn invalid(&self, detail: &'static str) -> Problem {
        let challenge = BearerChallenge { error: Some("invalid_token".to_owned()), ..self.challenge() };
        Problem::unauthorized(&challenge, detail)
    }

    fn insufficient(&self, detail: &'static str) -> Problem {
        let challenge = BearerChallenge { error: Some("insufficient_scope".to_owned()), ..self.challenge() };
        Problem::insufficient_scope(&challenge, detail)
    }

    fn challenge(&self) -> BearerChallenge {
        let metadata = paths::inserted(paths::PROTECTED_RESOURCE, API);
        BearerChallenge {
            resource_metadata: Some(format!("{}{metadata}", self.site.root_origin())),
            scope: Some(ADMIN.to_owned()),
            ..BearerChallenge::default()
        }
    }
}

/// There is an `Authorization` header that we cannot read, or more than one.
struct Unreadable;

/// A token as a request has it.
struct Presented<'a> {
    token: &'a str,
    /// With the scheme `DPoP` (RFC 9449 §7.1).
    with_proof: bool,
}

/// The token of a request (RFC 6750 §2.1), if it has one.
fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>, Unreadable> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else { return Ok(None) };
    let (scheme, token) = first.to_str().ok().and_then(Scheme::of).ok_or(Unreadable)?;
    if all.next().is_some() {
        return Err(Unreadable);
    }
    Ok(Some(Presented { token: token.trim_end_matches(' '), with_proof: scheme == Scheme::Dpop }))
}
