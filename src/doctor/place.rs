//! What is known about the examined server once the ground has been surveyed.

use super::report::Note;
use super::tools::Tools;
use crate::paths;
use crate::providers::{Challenges, Clients, Redirects, Registration};
use url::Url;

/// The server, and whose it is.
pub(super) struct Place {
    /// Of its MCP endpoint.
    pub(super) url: Url,
    /// The origin of the gateway's root domain, when it is a gateway of ours.
    pub(super) root: Option<String>,
    /// The gateway that would connect to it, for texts and its own rules.
    pub(super) gateway: String,
}

impl Place {
    pub(super) fn is_gateway(&self) -> bool {
        self.root.is_some()
    }

    /// `https://notes.gw.example`.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Where its protected resource metadata belongs (RFC 9728 §3.1).
    pub(super) fn resource_metadata(&self) -> String {
        format!("{}{}", self.origin(), paths::inserted(paths::PROTECTED_RESOURCE, self.url.path()))
    }

    /// Puts what is known about the place into a text.
    pub(super) fn fill(&self, text: &str) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let root = self.root.clone().unwrap_or_else(|| self.origin());
        let domain = root.split_once("://").map_or(root.as_str(), |(_, rest)| rest);
        text.replace("{host}", host)
            .replace("{url}", self.url.as_str())
            .replace("{origin}", &self.origin())
            .replace("{metadata}", &self.resource_metadata())
            .replace("{domain}", domain)
            .replace("{gateway}", &self.gateway)
            .trim()
            .to_owned()
    }
}

/// What is known about the server from elsewhere, and what a gateway needs to connect to it.
pub(super) fn notes(place: &Place, tools: &Tools) -> Vec<Note> {
    let provider = tools.providers.for_host(place.url.host_str().unwrap_or_default());
    let Some(provider) = provider.filter(|_| !place.is_gateway()) else { return Vec::new() };
    let callback = format!("{}/oauth/callback", place.gateway);
    let plain = |text: String| Note { text, source: None };
    let name = &provider.name;
    let mut notes = vec![plain(match provider.registration {
        Registration::Dynamic => format!("{name}: clients register themselves."),
        Registration::Documents => format!("{name}: clients name their metadata document; others are not taken."),
        Registration::DynamicAndDocuments => format!("{name}: clients register themselves or name their document."),
        Registration::Preregistered => format!(
            "{name}: only clients that were registered by hand. Register one with the redirect URI {callback}{}, and set its \
             client_id and client_secret for this upstream.",
            provider.register_at.as_ref().map(|address| format!(" at {address}")).unwrap_or_default()
        ),
        Registration::None => format!("{name}: no OAuth; it takes keys (auth = \"header\")."),
        Registration::Unknown => format!("{name}: how clients get in there is not known."),
    })];
    notes.extend(match provider.redirects {
        Redirects::Any | Redirects::Fixed => None,
        Redirects::Allowlist => {
            Some(plain(format!("It takes redirect URIs of a list only: {callback} has to be on it.")))
        }
        Redirects::LoopbackOnly => Some(plain("It registers programs on one's own machine only.".to_owned())),
    });
    notes.extend(
        (provider.clients == Clients::Named).then(|| plain("It registers clients with known names only.".to_owned())),
    );
    notes.extend((provider.challenges == Challenges::OnCalls).then(|| {
        plain(
            "It asks for a token only when a tool is called, so that the first step is not refused is no mistake."
                .to_owned(),
        )
    }));
    notes.extend(provider.advice_for(&callback).map(plain));
    notes.extend(provider.notes.iter().map(|note| Note { text: note.text.clone(), source: note.source.clone() }));
    notes
}
