//! Where a server's tokens come from: its challenge, its metadata (RFC 9728) and those of its authorization server
//! (RFC 8414).

use super::credentials::Server;
use super::remote::Remote;
use crate::error::Fault;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::metadata::{AuthorizationServer, ProtectedResource};
use crate::oauth::resource::covers;
use crate::oauth::scope::{ADMIN, Scopes};
use crate::paths;
use http::{Method, header};
use url::Url;

/// What a login needs to know.
pub(super) struct Found {
    /// For what (RFC 8707).
    pub(super) resource: String,
    /// How much, space-separated; empty for what the server gives by itself.
    pub(super) scope: String,
    pub(super) device_authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) registration_endpoint: String,
    pub(super) revocation_endpoint: Option<String>,
}

/// Asks a server, and then its authorization server.
///
/// # Errors
/// When one of them is none, or has no device authorization; the text names the address that was asked.
pub(super) async fn discover(remote: &Remote, server: &Server) -> Result<Found, Fault> {
    let challenge = match server.is_gateway {
        true => BearerChallenge { scope: Some(ADMIN.to_owned()), ..Default::default() },
        false => challenge(remote, &server.address).await?,
    };
    let address = if server.is_gateway { format!("{}{}", server.address, paths::API) } else { server.address.clone() };
    let document = match challenge.resource_metadata {
        Some(url) => url,
        None => well_known(paths::PROTECTED_RESOURCE, &address)?,
    };
    let described: ProtectedResource = remote.document(&document).await?;
    if !covers(described.resource.trim_end_matches('/'), &address) {
        return Err(Fault::caller(format!("{document} describes another server than {address}")));
    }
    let issuer = described.authorization_servers.first();
    let issuer = issuer.ok_or_else(|| Fault::caller(format!("{document} names no authorization server")))?;
    let metadata = authorization_server(remote, issuer).await?;
    let missing = |what: &str| {
        let address = &server.address;
        Fault::caller(format!(
            "{issuer}, where {address} sends people, has no {what}: is it a gateway of this version?"
        ))
    };
    let scope = challenge.scope.unwrap_or_else(|| described.scopes_supported.join(" "));
    Ok(Found {
        resource: described.resource,
        scope: Scopes::lenient(scope.split(' ')).to_string(),
        device_authorization_endpoint: metadata
            .device_authorization_endpoint
            .ok_or_else(|| missing("device authorization"))?,
        token_endpoint: metadata.token_endpoint.ok_or_else(|| missing("token endpoint"))?,
        registration_endpoint: metadata.registration_endpoint.ok_or_else(|| {
            Fault::caller(format!(
                "{issuer} lets nobody register (`registration.mode`): ask its administrator for an API key"
            ))
        })?,
        revocation_endpoint: metadata.revocation_endpoint,
    })
}

/// What a server says to somebody without a token.
async fn challenge(remote: &Remote, address: &str) -> Result<BearerChallenge, Fault> {
    let answer = remote.send(Method::GET, address, &[], String::new()).await?;
    let mut challenges =
        answer.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    if answer.status == http::StatusCode::NOT_FOUND {
        return Err(Fault::caller(format!("{address} leads nowhere: `portcullis encode` tells a server's address")));
    }
    Ok(challenges.find_map(BearerChallenge::parse).unwrap_or_default())
}

async fn authorization_server(remote: &Remote, issuer: &str) -> Result<AuthorizationServer, Fault> {
    let document = well_known(paths::AUTHORIZATION_SERVER, issuer)?;
    let metadata: AuthorizationServer = remote.document(&document).await?;
    match metadata.issuer == issuer {
        true => Ok(metadata),
        false => Err(Fault::caller(format!("{document} describes another authorization server"))),
    }
}

fn well_known(kind: &str, address: &str) -> Result<String, Fault> {
    let mut url = Url::parse(address).map_err(|_| Fault::caller(format!("{address:?} is not a web address")))?;
    let path = paths::inserted(kind, url.path());
    url.set_path(&path);
    Ok(url.into())
}
