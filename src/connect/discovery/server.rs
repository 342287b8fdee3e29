//! The second half: the authorization server's metadata (RFC 8414, OpenID Connect Discovery), or what stood in for it
//! in 2025-03-26.

use super::{Discovered, Search, json};
use crate::connect::Connections;
use crate::error::Fault;
use crate::http::check_url;
use crate::oauth::metadata::{AuthorizationServer, ProtectedResource};
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::paths;
use url::Url;

/// How many of the authorization servers that a resource lists are tried.
const MOST_SERVERS: usize = 3;

impl Search<'_> {
    /// The authorization server of a resource: the administrator's, the ones that its metadata lists, or, without any
    /// metadata, the upstream's own origin as MCP 2025-03-26 had it.
    pub(super) async fn authorization_server(
        &self,
        described: Option<&(String, ProtectedResource)>,
    ) -> Result<Discovered, Fault> {
        let issuers = match (&self.settings.issuer, described) {
            (Some(issuer), _) => vec![issuer.clone()],
            (None, Some((_, document))) => document.authorization_servers.iter().take(MOST_SERVERS).cloned().collect(),
            (None, None) => return self.before_metadata().await,
        };
        let mut first_fault = None;
        for issuer in &issuers {
            match self.metadata_of(issuer).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        let missing = || {
            let text = format!(
                "{} names {} as its authorization server, but that publishes no metadata. Its operator must correct this; \
                 an administrator can set authorization_endpoint and token_endpoint for this upstream meanwhile.",
                self.upstream.name,
                issuers.first().map_or("nobody", String::as_str),
            );
            Fault::upstream(text.clone(), text)
        };
        Err(first_fault.unwrap_or_else(missing))
    }

    /// The metadata of one issuer, from the first of its well-known places that has it.
    async fn metadata_of(&self, issuer: &str) -> Result<Option<Discovered>, Fault> {
        let mut lied = None;
        for url in well_known(&check_url(issuer, self.upstream.allow_private)?) {
            let Some(document) = self.json::<AuthorizationServer>(&url).await? else { continue };
            if document.issuer.trim_end_matches('/') == issuer.trim_end_matches('/') {
                return self.checked_server(document).map(Some);
            }
            if !document.issuer.is_empty() {
                lied = Some(document.issuer);
            }
        }
        let Some(said) = lied else { return Ok(None) };
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Fault::upstream(
            format!(
                "The authorization server {issuer} says that it is another one (\"{said}\"), so nobody can be sent there. \
                 Its operator must correct the issuer in its metadata."
            ),
            format_args!("metadata of {issuer} has the issuer {said:?}"),
        ))
    }

    /// MCP 2025-03-26: metadata at the upstream's origin, else three paths that are known in advance.
    async fn before_metadata(&self) -> Result<Discovered, Fault> {
        let origin = self.upstream.authority.origin();
        if let Some(found) = self.metadata_of(&origin).await? {
            return Ok(found);
        }
        Ok(Discovered {
            issuer: origin.clone(),
            issuer_known: true,
            authorization_endpoint: format!("{origin}/authorize"),
            token_endpoint: format!("{origin}/token"),
            registration_endpoint: Some(format!("{origin}/register")),
            auth_methods: vec!["none".to_owned()],
            ..Discovered::default()
        })
    }

    fn checked_server(&self, document: AuthorizationServer) -> Result<Discovered, Fault> {
        let issuer = document.issuer;
        let told = |text: String| Fault::upstream(text.clone(), text);
        if !document.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(told(format!(
                "The authorization server {issuer} does not say that it supports PKCE with S256, without which MCP clients \
                 must not use it. Its operator must add code_challenge_methods_supported to its metadata."
            )));
        }
        let missing = |what: &str| told(format!("The metadata of the authorization server {issuer} has no {what}."));
        let authorization_endpoint =
            document.authorization_endpoint.ok_or_else(|| missing("authorization_endpoint"))?;
        let token_endpoint = document.token_endpoint.ok_or_else(|| missing("token_endpoint"))?;
        let optional = [&document.registration_endpoint, &document.revocation_endpoint];
        for endpoint in [&authorization_endpoint, &token_endpoint].into_iter().chain(optional.into_iter().flatten()) {
            check_url(endpoint, self.upstream.allow_private).map_err(|error| {
                told(format!("The authorization server {issuer} names an endpoint that cannot be used: {error}"))
            })?;
        }
        Ok(Discovered {
            issuer_known: true,
            authorization_endpoint,
            token_endpoint,
            registration_endpoint: document.registration_endpoint,
            revocation_endpoint: document.revocation_endpoint,
            auth_methods: document.token_endpoint_auth_methods_supported,
            iss_promised: document.authorization_response_iss_parameter_supported,
            takes_documents: document.client_id_metadata_document_supported,
            offline_access: document.scopes_supported.iter().any(|scope| scope == OFFLINE_ACCESS),
            issuer,
            ..Discovered::default()
        })
    }
}

impl Connections {
    /// Where an issuer's metadata says that tokens are revoked (RFC 8414 §2); `None` when it has none, or does not say.
    pub(in crate::connect) async fn revocation_endpoint_of(
        &self,
        issuer: &str,
        allow_private: bool,
    ) -> Result<Option<String>, Fault> {
        for url in well_known(&check_url(issuer, allow_private)?) {
            let document = json::<AuthorizationServer>(&self.http, &url, allow_private).await?;
            let same = |said: &str| said.trim_end_matches('/') == issuer.trim_end_matches('/');
            if let Some(document) = document.filter(|document| same(&document.issuer)) {
                return Ok(document.revocation_endpoint);
            }
        }
        Ok(None)
    }
}

/// The places of an issuer's metadata, in order (MCP 2025-11-25, "Authorization Server Metadata Discovery").
pub(in crate::connect) fn well_known(issuer: &Url) -> Vec<String> {
    let origin = issuer.origin().ascii_serialization();
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        format!("{origin}{}{path}", paths::AUTHORIZATION_SERVER),
        format!("{origin}{}{path}", paths::OPENID_CONFIGURATION),
    ];
    if !path.is_empty() {
        places.push(format!("{origin}{path}{}", paths::OPENID_CONFIGURATION));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_in_the_order_of_the_specification() {
        assert_eq!(
            well_known(&Url::parse("https://as.example/tenant/1").unwrap()),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant/1",
                "https://as.example/.well-known/openid-configuration/tenant/1",
                "https://as.example/tenant/1/.well-known/openid-configuration",
            ]
        );
        let root = well_known(&Url::parse("https://as.example:8443/").unwrap());
        assert_eq!(root[0], "https://as.example:8443/.well-known/oauth-authorization-server");
        assert_eq!(root.len(), 2);
    }
}
