//! Metadata documents: of every realm as an authorization server (RFC 8414, and in the shape of OpenID Connect
//! Discovery) and as a protected resource (RFC 9728).

use super::Issuer;
use super::grants::jwt_bearer::ID_JAG_PROFILE;
use super::reply;
use crate::config::RegistrationMode;
use crate::hostname::{Label, Realm};
use crate::jose;
use crate::oauth::grant_type::GrantType;
use crate::oauth::metadata::{AuthorizationServer, ProtectedResource};
use crate::oauth::registration::AuthMethod;
use crate::oauth::scope::{ADMIN, OFFLINE_ACCESS, Scopes};
use crate::paths;
use crate::request::Arrival;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::CACHE_CONTROL;
use http::{Method, StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;

/// Answers every well-known path, by its raw text; 404 for any other.
pub(super) async fn well_known(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    uri: Uri,
    method: Method,
) -> Response {
    let Some(document) = Document::at(uri.path()) else { return reply::not_found().await };
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(scopes) = known_scopes(&issuer, &arrival.realm).await else { return reply::not_found().await };
    match document {
        Document::AuthorizationServer => document_reply(&authorization_server(&issuer, &arrival.realm, scopes)),
        Document::ProtectedResource(path) => {
            document_reply(&protected_resource(&issuer, &arrival.realm, path, &scopes))
        }
    }
}

/// Which document a path names.
#[derive(Debug, PartialEq, Eq)]
enum Document<'a> {
    AuthorizationServer,
    /// With the path of the resource, empty for the origin itself.
    ProtectedResource(&'a str),
}

impl<'a> Document<'a> {
    fn at(path: &'a str) -> Option<Self> {
        let below = |base: &str| path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(resource) = below(paths::PROTECTED_RESOURCE) {
            return Some(Self::ProtectedResource(if resource == "/" { "" } else { resource }));
        }
        let server = below(paths::AUTHORIZATION_SERVER).is_some()
            || below(paths::OPENID_CONFIGURATION).is_some()
            || (!path.starts_with("/.well-known/") && path.ends_with(paths::OPENID_CONFIGURATION));
        server.then_some(Self::AuthorizationServer)
    }
}

/// Only endpoints that exist are named.
fn authorization_server(issuer: &Issuer, realm: &Realm, mut scopes: Scopes) -> AuthorizationServer {
    let origin = issuer.site.issuer(realm);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let is_open = !matches!(issuer.registration.mode, RegistrationMode::Off);
    let algorithms = texts(&jose::ALGORITHMS);
    scopes.insert(OFFLINE_ACCESS);
    let profiles = if issuer.supports(GrantType::JwtBearer) { texts(&[ID_JAG_PROFILE]) } else { Vec::new() };
    AuthorizationServer {
        authorization_endpoint: Some(format!("{}{}", issuer.site.root_origin(), authorize_path(realm))),
        token_endpoint: Some(format!("{origin}/token")),
        registration_endpoint: is_open.then(|| format!("{origin}/register")),
        revocation_endpoint: Some(format!("{origin}/revoke")),
        device_authorization_endpoint: Some(format!("{origin}/device_authorization")),
        introspection_endpoint: Some(format!("{origin}/introspect")),
        authorization_grant_profiles_supported: profiles,
        jwks_uri: Some(format!("{origin}/jwks")),
        scopes_supported: scopes.iter().map(str::to_owned).collect(),
        response_types_supported: texts(&["code"]),
        response_modes_supported: texts(&["query"]),
        grant_types_supported: grant_types(issuer),
        token_endpoint_auth_methods_supported: AuthMethod::names(),
        token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        revocation_endpoint_auth_methods_supported: AuthMethod::names(),
        revocation_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        introspection_endpoint_auth_methods_supported: introspection_methods(),
        introspection_endpoint_auth_signing_alg_values_supported: algorithms,
        code_challenge_methods_supported: texts(&["S256"]),
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: true,
        dpop_signing_alg_values_supported: texts(&jose::ALGORITHMS),
        subject_types_supported: texts(&["public"]),
        id_token_signing_alg_values_supported: issuer.tokens.algorithms(),
        issuer: origin,
        ..Default::default()
    }
}

fn grant_types(issuer: &Issuer) -> Vec<String> {
    GrantType::ALL.into_iter().filter(|one| issuer.supports(*one)).map(|one| one.as_str().to_owned()).collect()
}

/// Clients with their method, unless it is none; API keys as Bearer.
fn introspection_methods() -> Vec<String> {
    let none = AuthMethod::None.as_str();
    let methods = AuthMethod::names().into_iter().filter(|name| name != none);
    methods.chain(["Bearer".to_owned()]).collect()
}

fn protected_resource(issuer: &Issuer, realm: &Realm, path: &str, scopes: &Scopes) -> ProtectedResource {
    let origin = issuer.site.issuer(realm);
    // Whether a client may stay signed in is between it and the authorization server, not the resource's business.
    let scopes = scopes.without(OFFLINE_ACCESS);
    let is_elsewhere = *realm == Realm::Root && path != paths::API;
    let scopes = if is_elsewhere { scopes.without(ADMIN) } else { scopes };
    let name = match realm {
        Realm::Root => None,
        Realm::Mcp(label) => issuer.registry.find(label).map(|upstream| upstream.name.clone()),
    };
    ProtectedResource {
        resource: format!("{origin}{path}"),
        authorization_servers: vec![origin],
        scopes_supported: scopes.iter().map(str::to_owned).collect(),
        bearer_methods_supported: vec!["header".to_owned()],
        dpop_signing_alg_values_supported: jose::ALGORITHMS.map(str::to_owned).into(),
        resource_name: name,
    }
}

/// The path of a realm's authorization endpoint, on the root domain.
pub(super) fn authorize_path(realm: &Realm) -> String {
    match realm {
        Realm::Root => "/authorize".to_owned(),
        Realm::Mcp(label) => format!("/authorize/{label}"),
    }
}

/// What the realm's upstream is known to want; `None` when there is no such upstream.
async fn known_scopes(issuer: &Issuer, realm: &Realm) -> Option<Scopes> {
    match realm {
        Realm::Root => Some(Scopes::lenient([ADMIN])),
        Realm::Mcp(label) => upstream_scopes(issuer, label).await,
    }
}

async fn upstream_scopes(issuer: &Issuer, label: &Label) -> Option<Scopes> {
    let upstream = issuer.registry.find(label)?;
    Some(issuer.connections.supported_scopes(&upstream.authority).await)
}

/// Scopes are learnt over time, so a cache must ask again.
fn document_reply(document: &impl Serialize) -> Response {
    ([(CACHE_CONTROL, "no-cache")], Json(document)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b14_every_form_of_every_path() {
        use Document::*;
        for (path, document) in [
            ("/.well-known/oauth-protected-resource", Some(ProtectedResource(""))),
            ("/.well-known/oauth-protected-resource/", Some(ProtectedResource(""))),
            ("/.well-known/oauth-protected-resource/mcp/", Some(ProtectedResource("/mcp/"))),
            ("/.well-known/oauth-authorization-server", Some(AuthorizationServer)),
            ("/.well-known/oauth-authorization-server/mcp", Some(AuthorizationServer)),
            ("/.well-known/openid-configuration/mcp", Some(AuthorizationServer)),
            ("/mcp/.well-known/openid-configuration", Some(AuthorizationServer)),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/x/.well-known/openid-configuration", None),
            ("/mcp/.well-known/oauth-authorization-server", None),
            ("/mcp", None),
        ] {
            assert_eq!(Document::at(path), document, "{path}");
        }
    }
}
