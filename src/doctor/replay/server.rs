//! The authorization server's metadata (RFC 8414, OpenID Connect Discovery): whether the client can do what it must.

use super::super::answer::{printable, seconds};
use super::super::check::{Check, Verdict};
use super::super::rules::ServerPlace;
use super::resource::Described;
use super::{Walk, origin};
use crate::oauth::metadata::AuthorizationServer;
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::paths;
use url::Url;

/// What the client knows about the authorization server now.
pub(super) struct Announced {
    pub(super) metadata: AuthorizationServer,
    pub(super) authorization: Url,
    pub(super) token: Url,
    /// How clients authenticate at the token endpoint.
    pub(super) methods: Vec<String>,
}

impl Walk<'_> {
    pub(super) async fn server(&mut self, described: &Described) -> Option<Announced> {
        let (url, metadata) = self.find_server(&described.issuer).await?;
        self.found(Check::ServerMetadata, Verdict::holds(url.as_str()));
        let limit = self.rules.limits.discovery();
        self.found(Check::DiscoveryTime, Verdict::when(self.spent <= limit, seconds(self.spent)));
        self.found(Check::ServerIssuer, issuer(&metadata.issuer, described.issuer.as_str()));
        self.found(Check::ServerSameHost, self.same_host(&metadata));
        let methods = match metadata.token_endpoint_auth_methods_supported.is_empty() {
            true => vec!["client_secret_basic".to_owned()], // RFC 8414 §2
            false => metadata.token_endpoint_auth_methods_supported.clone(),
        };
        self.capabilities(&metadata, &methods);
        let endpoint = |text: &Option<String>| text.as_deref().and_then(|text| Url::parse(text).ok());
        let endpoints = endpoint(&metadata.authorization_endpoint).zip(endpoint(&metadata.token_endpoint));
        let Some((authorization, token)) = endpoints else {
            self.found(
                Check::ServerEndpoints,
                Verdict::broken("", "authorization_endpoint or token_endpoint is missing"),
            );
            return None;
        };
        let plain = [&authorization, &token].into_iter().find(|url| url.scheme() != self.place.url.scheme());
        let verdict = match plain {
            Some(url) => Verdict::broken("http", printable(url.as_str(), 200)),
            None => Verdict::Holds(format!("{authorization}, {token}")),
        };
        self.found(Check::ServerEndpoints, verdict);
        Some(Announced { metadata, authorization, token, methods })
    }

    fn capabilities(&mut self, metadata: &AuthorizationServer, methods: &[String]) {
        let listed =
            |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { printable(&list.join(", "), 200) };
        let pkce = &metadata.code_challenge_methods_supported;
        self.found(Check::ServerPkce, Verdict::when(pkce.iter().any(|one| one == "S256"), listed(pkce)));
        let ours = &self.rules.registration.auth_methods;
        let common = methods.iter().any(|one| ours.contains(one));
        self.found(Check::ServerAuthMethods, Verdict::when(common, listed(methods)));
        if let Some(document) = &self.rules.registration.document {
            let missing = document.needs.iter().find(|need| !methods.contains(need));
            let verdict = match missing {
                _ if !metadata.client_id_metadata_document_supported => {
                    Verdict::broken("", "client_id_metadata_document_supported is not true")
                }
                Some(method) => Verdict::broken("method", format!("\"{method}\" is not among {}", listed(methods))),
                None => Verdict::holds(document.url.as_str()),
            };
            self.found(Check::ServerDocuments, verdict);
        }
        let iss = metadata.authorization_response_iss_parameter_supported;
        self.found(Check::ServerIss, Verdict::when(iss, if iss { "announced" } else { "not announced" }));
        let offline = metadata.scopes_supported.iter().any(|scope| scope == OFFLINE_ACCESS);
        let granted = metadata.grant_types_supported.iter().any(|grant| grant == "refresh_token");
        let seen = match (offline, granted) {
            (true, _) => "offline_access",
            (false, true) => "the grant refresh_token, without the scope offline_access",
            (false, false) => "neither the grant refresh_token nor the scope offline_access",
        };
        self.found(Check::ServerOffline, Verdict::when(offline || granted, seen));
    }

    /// People may be sent anywhere; what the client asks itself has to be where the MCP server is.
    fn same_host(&self, metadata: &AuthorizationServer) -> Verdict {
        let own = self.place.origin();
        let asked = [Some(&metadata.issuer), metadata.token_endpoint.as_ref(), metadata.registration_endpoint.as_ref()];
        let elsewhere = asked.into_iter().flatten().find(|url| Url::parse(url).is_ok_and(|url| origin(&url) != own));
        match elsewhere {
            Some(url) => Verdict::broken("", format!("{} is not at {own}", printable(url, 200))),
            None => Verdict::Holds(own),
        }
    }

    async fn find_server(&mut self, issuer: &Url) -> Option<(Url, AuthorizationServer)> {
        let mut first = None;
        for place in &self.rules.discovery.server {
            let Some(url) = well_known(issuer, *place) else { continue };
            match self.document(&url).await {
                Ok(answer) => {
                    let document = answer.json::<AuthorizationServer>().filter(|said| !said.issuer.is_empty());
                    match document.filter(|_| answer.status.is_success()) {
                        Some(document) => return Some((url, document)),
                        None => {
                            first.get_or_insert(Verdict::broken(answer.cause(), format!("{url}: {}", answer.seen())))
                        }
                    };
                }
                Err(trouble) => {
                    self.undiscovered(Check::ServerMetadata, &trouble);
                    return None;
                }
            }
        }
        let verdict = first.unwrap_or_else(|| Verdict::broken("not-found", "nowhere"));
        self.found(Check::ServerMetadata, verdict);
        None
    }
}

fn well_known(issuer: &Url, place: ServerPlace) -> Option<Url> {
    let path = issuer.path().trim_end_matches('/');
    let below = match place {
        ServerPlace::Oauth => format!("{}{path}", paths::AUTHORIZATION_SERVER),
        ServerPlace::Oidc => format!("{}{path}", paths::OPENID_CONFIGURATION),
        // Without a path it is the one before.
        ServerPlace::OidcAppended if path.is_empty() => return None,
        ServerPlace::OidcAppended => format!("{path}{}", paths::OPENID_CONFIGURATION),
    };
    Url::parse(&format!("{}{below}", origin(issuer))).ok()
}

/// The URL parser puts a slash behind a bare origin; otherwise the letters count (RFC 8414 §3.3).
fn issuer(said: &str, asked: &str) -> Verdict {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    match bare(said) == bare(asked) {
        true => Verdict::holds(said),
        false => Verdict::broken("", format!("\"{}\" instead of \"{}\"", printable(said, 200), bare(asked))),
    }
}
