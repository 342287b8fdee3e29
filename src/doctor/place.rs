//! What is known about the examined server once the ground has been surveyed.

use super::report::Note;
use super::tools::Tools;
use crate::paths;
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

/// What is known about the server from elsewhere.
pub(super) fn notes(_place: &Place, _tools: &Tools) -> Vec<Note> {
    Vec::new()
}
