//! Services: OAuth providers such as Google or GitHub whose tokens are handed out through the broker. A person's
//! authorization at one is a row of `connections` like any other, refreshed by the same engine; beside it there are
//! personal access tokens (PATs), for when there is no connection or the provider is in trouble.

mod pats;

pub use crate::config::{Service, ServiceClient, ServiceName};
pub use crate::connect::{CallbackQuery, ConnectError};
pub use pats::{Pat, Pats};

use crate::clock::Timestamp;
use crate::connect::{ConnectionKey, Connections, NoCredential, ServiceRequest, Target};
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::{Digest, UserId};
use crate::oauth::scope::Scopes;
use crate::revocation::Revocations;
use crate::secret::Secret;
use crate::store::{Connection, Store};
use std::sync::Arc;
use std::time::Duration;

/// All services. Shared behind an `Arc`.
pub struct Services {
    connections: Arc<Connections>,
    revocations: Arc<Revocations>,
    store: Store,
    pats: Pats,
    site: Site,
}

/// What [`Services`] works with.
pub struct ServicesParts {
    /// People's authorizations.
    pub connections: Arc<Connections>,
    /// Ends them.
    pub revocations: Arc<Revocations>,
    /// Says what there is.
    pub store: Store,
    /// Personal access tokens.
    pub pats: Pats,
    /// Our own names, for redirect URIs.
    pub site: Site,
}

/// Where the provider sends the browser back to. Both are registered there, or the one that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// `/callback/{service}`
    OfService,
    /// `/auth/callback`
    Shared,
}

/// What [`Services::begin`] needs to know.
pub struct Begin<'a> {
    /// Where.
    pub service: &'a Service,
    /// Who is going to consent: the person who is signed in.
    pub user: UserId,
    /// What is asked for besides the service's own default; what the person granted before is asked for again.
    pub scopes: &'a Scopes,
    /// Digest of the session cookie: the answer must come back to the same browser.
    pub session: Digest,
    /// Where the answer comes to.
    pub callback: Callback,
    /// A path on the root domain, where the person goes on afterwards.
    pub return_to: &'a str,
}

/// A person has connected a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Which.
    pub service: ServiceName,
    /// Who.
    pub user: UserId,
    /// Where the person goes on.
    pub return_to: String,
}

/// A token to use at the service.
pub struct ServiceToken {
    /// The token itself.
    pub access_token: Secret,
    /// `Bearer`; a PAT is used in the same way.
    pub token_type: &'static str,
    /// When it expires, if the provider said so: never later than that.
    pub expires_at: Option<Timestamp>,
    /// What it was granted for; empty for a PAT, of which that is not known.
    pub scope: Scopes,
    /// Where it comes from.
    pub source: TokenSource,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The person's consent at the provider.
    OAuth,
    /// A personal access token: the person's own, or the one that the configuration has for everybody.
    Pat,
}

impl TokenSource {
    /// As the broker's answers have it (DESIGN 1.7).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Pat => "pat",
        }
    }
}

/// Why there is no token.
#[derive(Debug)]
pub enum NoToken {
    /// The person must consent at the provider, to these scopes: what was asked for and what was granted before.
    AuthorizationRequired {
        /// For [`Begin::scopes`].
        scopes: Scopes,
    },
    /// The provider is in trouble; the connection stays.
    Trouble {
        /// When to try again.
        retry_after: Duration,
        /// What happened.
        fault: Fault,
    },
    /// The service has no OAuth client, and there is no personal access token.
    NoPat(Fault),
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// Why a consent gives no token.
enum Without {
    /// It is too little: a PAT, of which nobody knows what it may do, is no answer to that.
    Scopes(Scopes),
    /// There is nothing to use.
    Anything(NoToken),
}

impl From<Fault> for NoToken {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Services {
    /// Nothing is contacted yet.
    pub fn new(parts: ServicesParts) -> Self {
        let ServicesParts { connections, revocations, store, pats, site } = parts;
        Self { connections, revocations, store, pats, site }
    }

    /// The service of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.connections.services().find(&ServiceName::parse(name).ok()?)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<Service>> {
        self.connections.services().list()
    }

    /// The person's authorization there, in whatever state; `None` when there never was one. Nothing of it is secret but
    /// what is sealed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn connection(&self, service: &Service, user: UserId) -> Result<Option<Connection>, Fault> {
        let key = ConnectionKey::service(user, service.name.clone());
        Ok(self.store.connection(user, key.target.as_str(), "").await?)
    }

    /// Where to send the browser for the person's consent (RFC 6749 §4.1.1, RFC 7636).
    ///
    /// # Errors
    /// When the service has no OAuth client, or the store fails.
    pub async fn begin(&self, begin: Begin<'_>) -> Result<String, ConnectError> {
        let key = ConnectionKey::service(begin.user, begin.service.name.clone());
        let request = ServiceRequest {
            key: &key,
            service: begin.service,
            scopes: begin.scopes,
            session: begin.session,
            redirect_uri: self.redirect_uri(match begin.callback {
                Callback::OfService => Some(&begin.service.name),
                Callback::Shared => None,
            }),
            return_to: begin.return_to,
        };
        self.connections.begin_service(request).await
    }

    /// Completes what [`Services::begin`] began. `at` is the service in the path that the answer came to, `None` for the
    /// shared one: an answer that comes to another address than the one that was asked for is refused.
    ///
    /// # Errors
    /// When the answer is not for this browser, is too late, was tampered with, or the provider refuses; the text says
    /// what to correct.
    pub async fn finish(
        &self,
        session: &Digest,
        at: Option<&ServiceName>,
        query: &CallbackQuery,
    ) -> Result<Connected, ConnectError> {
        let (key, return_to) = self.connections.finish_service(session, &self.redirect_uri(at), query).await?;
        match key.target {
            Target::Service(service) => Ok(Connected { service, user: key.user, return_to }),
            Target::Upstream(_) => Err(ConnectError::at("callback", Fault::gateway("a flow is damaged"))),
        }
    }

    /// A token for a person: of the connection, refreshed when it has less than ten minutes to live; else a PAT. `scopes`
    /// are those that the caller cannot do without; empty: whatever was granted.
    ///
    /// # Errors
    /// When there is neither.
    pub async fn token(&self, service: &Service, user: UserId, scopes: &Scopes) -> Result<ServiceToken, NoToken> {
        let without = match self.granted_token(service, user, scopes).await {
            Ok(token) => return Ok(token),
            Err(Without::Scopes(scopes)) => return Err(NoToken::AuthorizationRequired { scopes }),
            Err(Without::Anything(without)) => without,
        };
        if let NoToken::Failed(_) = &without {
            return Err(without);
        }
        let own = self.pats.open(&service.name, user).await?;
        let pat = own.or_else(|| service.pat.clone()).ok_or(without)?;
        let (token_type, scope) = ("Bearer", Scopes::default());
        Ok(ServiceToken { access_token: pat, token_type, expires_at: None, scope, source: TokenSource::Pat })
    }

    /// What the person's consent gives.
    async fn granted_token(&self, service: &Service, user: UserId, wanted: &Scopes) -> Result<ServiceToken, Without> {
        let Some(client) = &service.client else {
            let text =
                format!("{} is used with personal access tokens, and there is none for this person", service.label);
            return Err(Without::Anything(NoToken::NoPat(Fault::caller(text))));
        };
        let key = ConnectionKey::service(user, service.name.clone());
        let held = self.connections.service_token(&key).await.map_err(|why| {
            Without::Anything(match why {
                NoCredential::NeedsConsent => NoToken::AuthorizationRequired { scopes: wanted.clone() },
                NoCredential::Trouble { retry_after, fault } => NoToken::Trouble { retry_after, fault },
                NoCredential::Failed(fault) => NoToken::Failed(fault),
            })
        })?;
        if !client.quirks.covers(&held.scope, wanted) {
            return Err(Without::Scopes(held.scope.union(wanted)));
        }
        let (access_token, expires_at) = (held.access_token, held.expires_at);
        let source = TokenSource::OAuth;
        Ok(ServiceToken { access_token, token_type: "Bearer", expires_at, scope: held.scope, source })
    }

    fn redirect_uri(&self, service: Option<&ServiceName>) -> String {
        redirect_uri(&self.site.root_origin(), service)
    }

    /// Forgets the person's authorization there, and gives it back at the provider where that is possible; `false` when
    /// there is none. PATs stay.
    ///
    /// # Errors
    /// When the store fails. What the provider says is only audited.
    pub async fn disconnect(&self, service: &Service, user: UserId) -> Result<bool, Fault> {
        let Some(row) = self.connection(service, user).await? else { return Ok(false) };
        Ok(self.revocations.connection(row.id).await?)
    }

    /// Keeps a person's PAT, in place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be sent in a header; when the store fails.
    pub async fn put_pat(&self, service: &Service, user: UserId, pat: &Secret) -> Result<(), Fault> {
        self.pats.put(&service.name, user, pat).await
    }

    /// Forgets a person's PAT; `false` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_pat(&self, service: &Service, user: UserId) -> Result<bool, Fault> {
        self.pats.delete(&service.name, user).await
    }

    /// The PATs that a person has left here, by service; never the tokens themselves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pats(&self, user: UserId) -> Result<Vec<Pat>, Fault> {
        self.pats.of(user).await
    }
}

/// What has to be registered at a service's provider: where its answers come to, of its own and shared by all. It is
/// enough to register the one that is used.
pub fn redirect_uris(root: &str, service: &ServiceName) -> [String; 2] {
    [redirect_uri(root, Some(service)), redirect_uri(root, None)]
}

fn redirect_uri(root: &str, service: Option<&ServiceName>) -> String {
    match service {
        Some(name) => format!("{root}/callback/{name}"),
        None => format!("{root}/auth/callback"),
    }
}

#[cfg(test)]
mod tests;
