//! The way to an upstream's consent: PKCE, state, scopes, `resource`. The way back is in `callback`.

use super::discovery::{Discovered, Findings};
use super::known::quirks;
use super::sealed::{AtServer, OurClient, Pending, Tokens};
use super::{Begin, ConnectError, ConnectionKey, Connections, NoCredential, Request, Target};
use crate::config::{OAuthSettings, UpstreamAuth};
use crate::error::Fault;
use crate::http::check_url;
use crate::ids::{ConnectionId, Digest};
use crate::oauth::pkce::{self, Challenge};
use crate::oauth::quirks::Quirks;
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::providers::{Provider, Resource};
use crate::store::{Connection, ConnectionState, Flow};
use crate::upstream::{Standing, Upstream};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a person may take at the upstream (security case B 58).
const FLOW_LIFE: Duration = Duration::from_secs(600);

impl Connections {
    /// Makes sure of a connection, or says where to send the browser for one. Contacts the upstream.
    ///
    /// # Errors
    /// When discovery or registration fails, with the step that failed.
    pub async fn begin(self: &Arc<Self>, request: Request<'_>) -> Result<Begin, ConnectError> {
        let upstream = self.usable(request.key)?;
        if upstream.personal().is_some() {
            return self.begin_personal(&request).await;
        }
        let UpstreamAuth::OAuth(settings) = &*upstream.auth else { return Ok(Begin::Connected) };
        let existing = self.row(request.key).await.map_err(|fault| ConnectError::at("store", fault))?;
        let wanted = request.scopes.without(OFFLINE_ACCESS);
        let granted = existing.as_ref().and_then(|row| self.granted(row));
        // Nobody can be asked for scopes where nobody asks for authorization.
        let open = existing.as_ref().is_some_and(|row| row.state == ConnectionState::Open);
        let demanded = self.stepped_up(request.key).await.map_err(|fault| ConnectError::at("store", fault))?;
        if !request.renew
            && demanded.is_none()
            && (open || granted.as_ref().is_some_and(|granted| wanted.is_subset(granted)))
        {
            match self.credential(request.key).await {
                Ok(_) => return Ok(Begin::Connected),
                Err(NoCredential::NeedsConsent) => {}
                Err(NoCredential::Trouble { fault, .. } | NoCredential::Failed(fault)) => {
                    return Err(ConnectError::at("refresh", fault));
                }
            }
        }
        let known = self.providers.for_host(upstream.authority.host());
        self.must_be_registrable(&upstream, settings, known.as_deref())?;
        let path = request.path.or(upstream.path.as_deref());
        let server = match self.discover(&upstream, settings, path, request.renew).await? {
            Findings::Open => {
                self.put_open(request.key).await.map_err(|fault| ConnectError::at("store", fault))?;
                return Ok(Begin::Connected);
            }
            Findings::OAuth(server) => server,
        };
        let provider = self.provider_of(&upstream, &server);
        let provider = provider.as_ref();
        let mut scope = scope_to_ask(&wanted, settings, (&server, provider.map(Arc::as_ref)), granted.as_ref());
        if let Some(demanded) = demanded {
            scope = scope.union(&demanded).union(&granted.unwrap_or_default());
        }
        if scope.is_empty() && provider.is_some_and(|provider| provider.needs_scopes) {
            return Err(self.no_scopes(&upstream));
        }
        let client = self.client_at(&upstream, settings, (&server, provider), &scope.to_string()).await?;
        self.redirect(&upstream, &request, settings, (*server, client, scope), provider).await.map(Begin::Redirect)
    }

    /// An empty request would be refused, and with words that help nobody.
    fn no_scopes(&self, upstream: &Upstream) -> ConnectError {
        let text = format!(
            "{} wants to know which scopes it is asked for, and nobody says. An administrator must write scopes for {} in \
             the configuration.",
            self.display_name(upstream),
            upstream.authority
        );
        ConnectError::at("authorization", Fault::upstream(text.clone(), text))
    }

    /// The upstream of a key, as long as it may be used, and by this person.
    fn usable(&self, key: &ConnectionKey) -> Result<Arc<Upstream>, ConnectError> {
        let refused = |text: &'static str| ConnectError::at("upstream", Fault::caller(text));
        let Target::Upstream(authority) = &key.target else {
            return Err(refused("services are connected through the broker"));
        };
        let upstream = self.registry.by_authority(authority);
        let upstream = upstream.ok_or_else(|| refused("this gateway does not connect to that server"))?;
        match upstream.standing {
            Standing::Allowed if upstream.access.admits(key.user) => Ok(upstream),
            Standing::Allowed => Err(refused("you may not use this server: ask an administrator")),
            Standing::AwaitingApproval => Err(refused("an administrator must approve this server first")),
        }
    }

    /// The scopes of a connection that works, granted or at least asked for. One that cannot be read does not work.
    fn granted(&self, row: &Connection) -> Option<Scopes> {
        if row.state != ConnectionState::Active {
            return None;
        }
        let tokens = self.open_tokens(row).inspect_err(|fault| tracing::error!(%fault, "consent is asked for again"));
        Some(Scopes::lenient(row.scope.split(' ')).union(&Scopes::lenient(tokens.ok()?.asked.split(' '))))
    }

    async fn put_open(&self, key: &ConnectionKey) -> Result<ConnectionId, Fault> {
        let row = self.new_row(key, ConnectionState::Open, &Tokens::default(), String::new())?;
        let id = self.store.put_connection(&row).await?;
        self.forget(id);
        self.news.tell(key.user);
        Ok(id)
    }

    /// A row for [`crate::store::Store::put_connection`]; the caller sets the expiry.
    pub(super) fn new_row(
        &self,
        key: &ConnectionKey,
        state: ConnectionState,
        tokens: &Tokens,
        scope: String,
    ) -> Result<Connection, Fault> {
        let now = self.clock.now();
        Ok(Connection {
            id: ConnectionId::random(&self.random),
            user: key.user,
            authority: key.target.to_string(),
            account: key.account_text().to_owned(),
            state,
            sealed: self.seal_tokens(key, tokens)?,
            scope,
            expires_at: None,
            version: 1,
            personal: None,
            refreshing_since: None,
            last_error: None,
            created_at: now,
            updated_at: now,
            last_used_at: None,
        })
    }

    /// The flow toward an upstream.
    async fn redirect(
        &self,
        upstream: &Upstream,
        request: &Request<'_>,
        settings: &OAuthSettings,
        (server, client, scope): (Discovered, OurClient, Scopes),
        provider: Option<&Arc<Provider>>,
    ) -> Result<String, ConnectError> {
        let outset = Outset {
            key: request.key,
            authorization_endpoint: &server.authorization_endpoint,
            expected_iss: server.issuer_known.then(|| server.issuer.clone()),
            iss_promised: server.iss_promised,
            quirks: quirks(provider),
            allow_private: upstream.allow_private,
            scope,
            session: request.session,
            return_to: request.return_to,
        };
        let at_server = AtServer {
            resource: resource_to_send(upstream, request.path, settings, (&server, provider.map(Arc::as_ref))),
            issuer: server.issuer.clone(),
            token_endpoint: server.token_endpoint.clone(),
            client,
            redirect_uri: self.redirect_uri(),
            revocation_endpoint: server.revocation_endpoint.clone(),
        };
        self.set_out(outset, at_server).await
    }

    /// Records a flow and says where it goes on.
    pub(super) async fn set_out(&self, outset: Outset<'_>, server: AtServer) -> Result<String, ConnectError> {
        let step = |fault: Fault| ConnectError::at("authorization", fault);
        let state = self.random.token();
        let pending = Pending {
            user: outset.key.user.to_string(),
            authority: outset.key.target.to_string(),
            account: outset.key.account_text().to_owned(),
            expected_iss: outset.expected_iss,
            iss_promised: outset.iss_promised,
            server,
            verifier: pkce::verifier(&self.random).expose().to_owned(),
            scope: outset.scope.to_string(),
            return_to: outset.return_to.to_owned(),
        };
        let mut url =
            check_url(outset.authorization_endpoint, outset.allow_private).map_err(|error| step(error.into()))?;
        add_parameters(&mut url, &pending, &state, outset.quirks);
        self.insert_flow(&flow_id(&state), outset.session, &pending).await.map_err(step)?;
        Ok(url.into())
    }

    async fn insert_flow(&self, id: &Digest, session: Digest, pending: &Pending) -> Result<(), Fault> {
        let data = self.seal_pending(id, pending)?;
        let expires_at = self.clock.now().after(FLOW_LIFE);
        Ok(self.store.insert_flow(&Flow { id: *id, session, data, expires_at }).await?)
    }
}

/// What a browser is sent out with, besides what the token endpoint is going to need.
pub(super) struct Outset<'a> {
    pub(super) key: &'a ConnectionKey,
    pub(super) authorization_endpoint: &'a str,
    /// What `iss` must be (RFC 9207 §2.4), where it is known.
    pub(super) expected_iss: Option<String>,
    /// Whether the metadata promised `iss`.
    pub(super) iss_promised: bool,
    pub(super) quirks: &'a Quirks,
    pub(super) allow_private: bool,
    pub(super) scope: Scopes,
    /// Digest of the session cookie.
    pub(super) session: Digest,
    pub(super) return_to: &'a str,
}

/// The flow behind a `state`. Other flows share the table, so theirs are told apart by the prefix.
pub(super) fn flow_id(state: &str) -> Digest {
    Digest::of(format!("connect:{state}"))
}

/// The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2).
fn add_parameters(url: &mut Url, pending: &Pending, state: &str, quirks: &Quirks) {
    url.set_fragment(None);
    let scope = pending.scope.replace(' ', &quirks.scope_separator);
    let mut query = url.query_pairs_mut();
    query.append_pair("response_type", "code").append_pair("client_id", &pending.server.client.id);
    query.append_pair("redirect_uri", &pending.server.redirect_uri).append_pair("state", state);
    if quirks.pkce {
        query.append_pair("code_challenge", Challenge::of(&pending.verifier).as_str());
        query.append_pair("code_challenge_method", "S256");
    }
    if !scope.is_empty() {
        query.append_pair(&quirks.scope_parameter, &scope);
    }
    if let Some(resource) = &pending.server.resource {
        query.append_pair("resource", resource);
    }
    query.extend_pairs(quirks.authorize.iter());
    // OpenID Connect Core §11: without it, offline_access is ignored.
    let offline = pending.scope.split(' ').any(|scope| scope == OFFLINE_ACCESS);
    if offline && !quirks.authorize.iter().any(|(name, _)| name == "prompt") {
        query.append_pair("prompt", "consent");
    }
}

/// RFC 8707: what the administrator says, else exactly what the metadata states, else what the provider is known to want,
/// else the address of the endpoint; MCP wants it sent whether or not the server knows it.
fn resource_to_send(
    upstream: &Upstream,
    path: Option<&str>,
    settings: &OAuthSettings,
    (server, provider): (&Discovered, Option<&Provider>),
) -> Option<String> {
    let address =
        || format!("{}{}", upstream.authority.origin(), path.or(upstream.path.as_deref()).unwrap_or_default());
    let usual = provider.map_or(&Resource::AsStated, |provider| &provider.resource);
    let resource = match (&settings.resource, &server.resource, usual) {
        (_, _, Resource::Never) => return None,
        (Some(configured), ..) => configured.clone(),
        (None, Some(stated), _) => stated.clone(),
        (None, None, Resource::Fixed(fixed)) => fixed.clone(),
        (None, None, Resource::AsStated) => address(),
    };
    Some(resource).filter(|resource| !resource.is_empty())
}

/// What the client asked for, together with what the connection has already (a step up must not lose anything); else
/// the administrator's scopes, else the upstream's, else what the provider is known to want.
pub(super) fn scope_to_ask(
    wanted: &Scopes,
    settings: &OAuthSettings,
    (server, provider): (&Discovered, Option<&Provider>),
    granted: Option<&Scopes>,
) -> Scopes {
    let usual = || {
        let said = Scopes::lenient(settings.scopes.as_ref().unwrap_or(&server.scopes).split(' '));
        let known = provider.filter(|_| said.is_empty()).map(|provider| provider.scopes.clone());
        known.unwrap_or(said)
    };
    let mut scope = match granted {
        _ if wanted.is_empty() => usual(),
        Some(granted) => wanted.union(granted),
        None => wanted.clone(),
    };
    if server.offline_access || provider.is_some_and(|provider| provider.offline_access) {
        scope.insert(OFFLINE_ACCESS);
    }
    scope
}
