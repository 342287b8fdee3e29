//! What the browser meets where the client sends it.

use super::super::answer::{Answer, printable};
use super::super::check::{Check, Verdict};
use super::registration::Client;
use super::resource::Described;
use super::server::Announced;
use super::{REDIRECTS, Walk};
use crate::oauth::pkce::{self, Challenge};
use crate::oauth::scope::OFFLINE_ACCESS;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, USER_AGENT};
use std::time::Duration;
use url::Url;

/// A browser of our day.
const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// How long a person looks at an empty window.
const PATIENCE: Duration = Duration::from_secs(15);

impl Walk<'_> {
    pub(super) async fn authorize(&mut self, resource: &Described, server: &Announced, client: Option<&Client>) {
        let Some(client) = client else {
            self.found(Check::Authorize, Verdict::Moot("there is no client_id to try it with".to_owned()));
            return;
        };
        let redirect_uri = self.redirect_uri();
        let mut url = self.authorization_url(resource, server, client, &redirect_uri);
        for _ in 0..=REDIRECTS {
            let request = Request::get(url.as_str()).header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
            let Ok(request) = request.header(USER_AGENT, BROWSER).body(Bytes::new()) else { return };
            let answer = match self.ask(request, PATIENCE).await {
                Ok(answer) => answer,
                Err(trouble) => return self.found(Check::Authorize, Verdict::broken("unreachable", trouble.seen())),
            };
            match self.met(&url, &answer, &redirect_uri) {
                Ok(next) => url = next,
                Err(verdict) => return self.found(Check::Authorize, verdict),
            }
        }
        self.found(Check::Authorize, Verdict::broken("loop", format!("more than {REDIRECTS} redirects")));
    }

    pub(super) fn redirect_uri(&self) -> String {
        self.rules.authorization.redirect_uri.replace("{gateway}", &self.place.gateway)
    }

    fn authorization_url(&self, resource: &Described, server: &Announced, client: &Client, redirect_uri: &str) -> Url {
        let mut url = server.authorization.clone();
        let verifier = pkce::verifier(&self.tools.random);
        let challenge = Challenge::of(verifier.expose());
        let state = self.tools.random.token();
        let mut scope = resource.scope.clone().unwrap_or_default();
        let offline = server.metadata.scopes_supported.iter().any(|scope| scope == OFFLINE_ACCESS);
        if offline && self.rules.authorization.offline_access {
            scope = format!("{scope} {OFFLINE_ACCESS}").trim().to_owned();
        }
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", &state);
        if self.rules.authorization.resource {
            query.append_pair("resource", &resource.resource);
        }
        if !scope.is_empty() {
            query.append_pair("scope", &scope);
        }
        drop(query);
        url
    }

    /// Where to go on, or what came out.
    fn met(&self, url: &Url, answer: &Answer, redirect_uri: &str) -> Result<Url, Verdict> {
        if let Some(seen) = answer.bot_protection() {
            return Err(Verdict::broken("bots", seen));
        }
        let Some(next) = answer.location(url) else {
            return Err(match answer.status.is_success() {
                true => Verdict::Holds(answer.seen()),
                false if answer.status.is_redirection() => Verdict::broken("nonsense", answer.seen()),
                false => {
                    Verdict::broken(if answer.status.is_server_error() { "server-error" } else { "" }, answer.seen())
                }
            });
        };
        let back = next.as_str().starts_with(redirect_uri);
        if back || next.query_pairs().any(|(name, _)| name == "error") {
            let said =
                |name: &str| next.query_pairs().find(|(one, _)| one == name).map(|(_, value)| printable(&value, 200));
            let (error, why) = (said("error").unwrap_or_default(), said("error_description").unwrap_or_default());
            return Err(Verdict::broken(
                "error",
                format!("{} {error} {why}", answer.status.as_u16()).trim().to_owned(),
            ));
        }
        let own = self.place.root.as_ref().and_then(|root| Url::parse(root).ok());
        match own {
            // A gateway keeps people on its own pages until they have signed in.
            Some(root) if !belongs(&next, &root) => {
                Err(Verdict::broken("foreign", format!("{} to {}", answer.status.as_u16(), super::origin(&next))))
            }
            Some(_) if next.path().starts_with("/login") => {
                Err(Verdict::Holds(format!("sign-in at {}", super::origin(&next))))
            }
            Some(_) => Ok(next),
            None => Err(Verdict::Holds(format!("sign-in at {}", super::origin(&next)))),
        }
    }
}

/// Whether a page is the gateway's own: at its root domain, or at a hostname below it.
fn belongs(url: &Url, root: &Url) -> bool {
    let (host, domain) = (url.host_str().unwrap_or_default(), root.host_str().unwrap_or_default());
    let below = host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    below && url.scheme() == root.scheme() && url.port_or_known_default() == root.port_or_known_default()
}
