//! The protected resource's metadata (RFC 9728): what the server says it is, and who gives tokens for it.

use super::super::answer::printable;
use super::super::check::{Check, Verdict};
use super::super::rules::ResourcePlace;
use super::Walk;
use super::challenge::Challenged;
use crate::oauth::metadata::ProtectedResource;
use crate::oauth::resource::covers;
use crate::paths;
use url::Url;

/// What the client knows about the server now.
pub(super) struct Described {
    /// As it stands in the metadata.
    pub(super) resource: String,
    /// The first of its authorization servers.
    pub(super) issuer: Url,
    /// What to ask for.
    pub(super) scope: Option<String>,
}

impl Walk<'_> {
    pub(super) async fn resource(&mut self, challenged: &Challenged) -> Option<Described> {
        let (url, document) = self.find_resource(challenged).await?;
        self.found(Check::ResourceMetadata, Verdict::holds(url.as_str()));
        let expected = self.place.resource_metadata();
        self.found(Check::ResourcePlace, Verdict::when(url.as_str() == expected, url.as_str()));
        let (said, own) = (document.resource.as_str(), self.place.url.as_str());
        // A bare origin and the same with a slash are one resource; below it the letters count.
        let exact = said == own || said.strip_suffix('/').unwrap_or(said) == self.place.origin() && own.ends_with("/");
        let seen = match exact {
            true => said.to_owned(),
            false => format!("\"{}\" instead of \"{own}\"", printable(said, 200)),
        };
        self.found(Check::ResourceCovers, Verdict::when(exact || covers(said, own), seen.clone()));
        self.found(Check::ResourceExact, Verdict::when(exact, seen));
        let first = document.authorization_servers.first();
        let Some(issuer) = first.and_then(|text| Url::parse(text).ok()) else {
            self.found(Check::ResourceServers, Verdict::broken("", "none"));
            return None;
        };
        self.found(Check::ResourceServers, Verdict::Holds(printable(issuer.as_str(), 200)));
        let listed = Some(document.scopes_supported.join(" ")).filter(|scopes| !scopes.is_empty());
        Some(Described { issuer, scope: challenged.scope.clone().or(listed), resource: document.resource })
    }

    /// The first of the client's places that has it.
    async fn find_resource(&mut self, challenged: &Challenged) -> Option<(Url, ProtectedResource)> {
        let mut places: Vec<Url> = Vec::new();
        for place in &self.rules.discovery.resource {
            let url = match place {
                ResourcePlace::Pointer => challenged.pointer.clone(),
                ResourcePlace::Path => Url::parse(&self.place.resource_metadata()).ok(),
                ResourcePlace::Root => {
                    Url::parse(&format!("{}{}", self.place.origin(), paths::PROTECTED_RESOURCE)).ok()
                }
            };
            places.extend(url.filter(|url| !places.contains(url)));
        }
        let mut first = None;
        for url in places {
            match self.document(&url).await {
                Ok(answer) => {
                    let document = answer.json::<ProtectedResource>().filter(|said| !said.resource.is_empty());
                    match document.filter(|_| answer.status.is_success()) {
                        Some(document) => return Some((url, document)),
                        None => {
                            first.get_or_insert(Verdict::broken(answer.cause(), format!("{url}: {}", answer.seen())))
                        }
                    };
                }
                Err(trouble @ super::Trouble::Slow(_)) => {
                    self.undiscovered(Check::ResourceMetadata, &trouble);
                    return None;
                }
                Err(trouble) => {
                    first.get_or_insert(Verdict::broken("unreachable", format!("{url}: {}", trouble.seen())));
                }
            }
        }
        let verdict = first.unwrap_or_else(|| Verdict::broken("not-found", "nowhere"));
        self.found(Check::ResourceMetadata, verdict);
        None
    }
}
