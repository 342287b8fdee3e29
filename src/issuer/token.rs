//! The token endpoint (RFC 6749 §3.2). What every grant type needs happens here, so that none can forget it: the form,
//! client authentication, the proof of a key, the grant's and the person's life, the token itself, headers.

use super::Issuer;
use super::clients::KnownClient;
use super::grants::{client_credentials, code, device, exchange, jwt_bearer, refresh};
use super::parameters::Parameters;
use super::reply::{self, Refused};
use super::resource;
use crate::clock::Timestamp;
use crate::hostname::Realm;
use crate::ids::GrantId;
use crate::oauth::error::Code;
use crate::oauth::grant_type::GrantType;
use crate::request::Arrival;
use crate::store::{Grant, Role, User};
use crate::tokens::NewToken;
use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// A request that has passed everything that grant types have in common.
pub(super) struct TokenRequest<'a> {
    pub(super) realm: &'a Realm,
    pub(super) client: &'a KnownClient,
    pub(super) form: &'a Parameters,
    /// Where it came from.
    pub(super) address: IpAddr,
    /// The thumbprint of the key that the request has proved to have (RFC 9449).
    pub(super) key: Option<&'a str>,
}

/// What a grant type decides: under which grant, how much, and whether the client may come back.
pub(super) struct Issue {
    pub(super) living: LivingGrant,
    /// The scope of the access token, space-separated.
    pub(super) scope: String,
    pub(super) refresh_token: Option<String>,
    /// What holds beyond that for a token that was exchanged for another one.
    pub(super) exchanged: Option<Exchanged>,
}

/// What a token inherits from the one that it was exchanged for (RFC 8693).
pub(super) struct Exchanged {
    /// Its audience.
    pub(super) resource: String,
    /// It may not live longer than this.
    pub(super) ends_at: Timestamp,
}

/// A grant that is in force, of a person who may still sign in. Only [`Issuer::living_grant`] makes one.
pub(super) struct LivingGrant {
    grant: Grant,
    user: User,
}

#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

/// `POST /token`
pub(super) async fn token(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let form = form(&headers, body)?;
    let client = issuer.authenticate(&arrival.realm, &headers, &form).await?;
    let key = issuer.possession(&arrival.realm, &headers, &client).await?;
    let request = TokenRequest {
        realm: &arrival.realm,
        client: &client,
        form: &form,
        address: arrival.client,
        key: key.as_deref(),
    };
    let issue = match request.grant_type(&issuer)? {
        GrantType::AuthorizationCode => code::exchange(&issuer, &request).await?,
        GrantType::RefreshToken => refresh::exchange(&issuer, &request).await?,
        GrantType::DeviceCode => device::exchange(&issuer, &request).await?,
        GrantType::TokenExchange => exchange::exchange(&issuer, &request).await?,
        GrantType::ClientCredentials => client_credentials::exchange(&issuer, &request).await?,
        GrantType::JwtBearer => jwt_bearer::exchange(&issuer, &request).await?,
    };
    let answer = issuer.issue(&request, &issue)?;
    issuer.store.touch_client(&arrival.realm.key(), &client.id, issuer.clock.now()).await?;
    Ok(reply::json(StatusCode::OK, &answer))
}

/// The parameters of a form (RFC 6749 §3.2): nothing else is read, least of all the query string.
pub(super) fn form(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Parameters, Refused> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let description = "send the parameters as application/x-www-form-urlencoded";
        return Err(Refused::because(Code::InvalidRequest, description));
    }
    let body =
        body.map_err(|_| Refused::because(Code::InvalidRequest, "the request body is too large or incomplete"))?;
    let form = Parameters::parse(&body);
    form.refuse_repetition()?;
    Ok(form)
}

fn unsupported() -> Refused {
    Refused::because(Code::UnsupportedGrantType, "grant_type is not one of grant_types_supported in the metadata")
}

impl TokenRequest<'_> {
    /// What is asked for: something that we know, and that the client is registered for.
    fn grant_type(&self, issuer: &Issuer) -> Result<GrantType, Refused> {
        let named = GrantType::parse(self.form.require("grant_type")?);
        let known = named.filter(|one| issuer.supports(*one)).ok_or_else(unsupported)?;
        match self.client.metadata.allows(known) {
            true => Ok(known),
            false => {
                Err(Refused::because(Code::UnauthorizedClient, "the client is not registered for this grant type"))
            }
        }
    }
}

impl LivingGrant {
    /// A grant that was read, or made, just now, and its person who may sign in.
    pub(super) fn of((grant, user): (Grant, User)) -> Self {
        Self { grant, user }
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl Issuer {
    /// Whether the token endpoint knows a grant type.
    pub(super) fn supports(&self, grant_type: GrantType) -> bool {
        match grant_type {
            GrantType::AuthorizationCode
            | GrantType::RefreshToken
            | GrantType::DeviceCode
            | GrantType::ClientCredentials
            | GrantType::TokenExchange => true,
            // A provider has to be trusted with it first.
            GrantType::JwtBearer => self.providers.make_assertions(),
        }
    }

    /// The grant behind a code or a refresh token, if this client got it here, it is in force, and its person may still
    /// sign in and use the upstream. A permission that is taken away revokes nothing: once it is given again, so are tokens.
    ///
    /// # Errors
    /// `invalid_grant` for everything that is not so; `invalid_target` when the request names another resource.
    pub(super) async fn living_grant(&self, request: &TokenRequest<'_>, id: GrantId) -> Result<LivingGrant, Refused> {
        let gone = || Refused::because(Code::InvalidGrant, "the authorization has ended or belongs to another client");
        let (grant, user) = self.in_force(id).await?.ok_or_else(gone)?;
        if grant.client_id != request.client.id || grant.realm != request.realm.key() {
            return Err(gone());
        }
        if !self.permits(request.realm, user.id).await? {
            let why = "the person may not use this server any longer: an administrator of the gateway can change that";
            return Err(Refused::because(Code::InvalidGrant, why));
        }
        if request.form.get("resource").is_some_and(|named| !resource::same(named, &grant.resource)) {
            return Err(Refused::because(Code::InvalidTarget, "the authorization was given for another resource"));
        }
        Ok(LivingGrant { grant, user })
    }

    /// A grant in force, and its person, if the person may still sign in.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn in_force(&self, id: GrantId) -> Result<Option<(Grant, User)>, Refused> {
        let Some(grant) = self.store.grant(id).await?.filter(|grant| grant.revoked_at.is_none()) else {
            return Ok(None);
        };
        // Administrators gave it; whoever is none any more does not go on administrating.
        let needs_administrator = resource::is_administration(&grant.realm, &grant.scope);
        let may = |user: &User| !user.disabled && (user.role == Role::Administrator || !needs_administrator);
        Ok(self.store.user(grant.user).await?.filter(may).map(|user| (grant, user)))
    }

    /// Whether every request with a token of this grant would be sent back for the person's consent at the upstream. A
    /// client that could refresh its token then would never ask the person. Nothing is revoked: the grant is as good as
    /// before once the connection is.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn lacks_connection(&self, request: &TokenRequest<'_>, of: &LivingGrant) -> Result<bool, Refused> {
        match self.connection_of(request.realm, of.user.id) {
            Some(key) => Ok(self.connections.needs_consent(&key).await?),
            None => Ok(false),
        }
    }

    fn issue<'a>(&self, request: &TokenRequest<'_>, issue: &'a Issue) -> Result<TokenResponse<'a>, Refused> {
        let LivingGrant { grant, user } = &issue.living;
        let exchanged = issue.exchanged.as_ref();
        let ttl = self.lifetimes.access_ttl;
        let ttl = exchanged.map_or(ttl, |exchanged| ttl.min(exchanged.ends_at.since(self.clock.now())));
        let access_token = self.tokens.mint(&NewToken {
            issuer: &self.site.issuer(request.realm),
            resource: exchanged.map_or(&grant.resource, |exchanged| &exchanged.resource),
            user,
            client_id: &grant.client_id,
            scope: &issue.scope,
            grant: grant.id,
            ttl,
            actor: exchanged.map(|_| grant.client_id.as_str()),
            confirmation: request.key,
        })?;
        Ok(TokenResponse {
            access_token,
            token_type: if request.key.is_some() { "DPoP" } else { "Bearer" },
            expires_in: ttl.as_secs(),
            refresh_token: issue.refresh_token.as_deref(),
            issued_token_type: exchanged.map(|_| exchange::ACCESS_TOKEN),
            scope: &issue.scope,
        })
    }
}
