//! The scopes that an upstream is known to have.

use super::Document;
use crate::clock::Timestamp;
use crate::config::UpstreamAuth;
use crate::connect::Connections;
use crate::error::Fault;
use crate::hostname::Authority;
use crate::oauth::scope::Scopes;

/// So much is remembered of what an upstream asked for in single cases, in bytes.
const MOST_LEARNT: usize = 2048;

/// The scopes of an upstream.
#[derive(Clone, Debug, Default)]
pub(in crate::connect) struct KnownScopes {
    /// Of the challenge to somebody without a token, else of the metadata.
    usual: Scopes,
    /// Of the challenges to people whose token had too little.
    learnt: Scopes,
}

impl Connections {
    /// The scopes to begin with at an upstream, from the administrator or from earlier discovery; never contacts it.
    pub async fn usual_scopes(&self, authority: &Authority) -> Scopes {
        self.known_scopes(authority).await.usual
    }

    /// The scopes an upstream is known to have: the usual ones, and what it asked for in single cases. Empty when the
    /// usual ones are not known: whoever took the others for all there is would get too little.
    pub async fn supported_scopes(&self, authority: &Authority) -> Scopes {
        let known = self.known_scopes(authority).await;
        if known.usual.is_empty() { known.usual } else { known.usual.union(&known.learnt) }
    }

    async fn known_scopes(&self, authority: &Authority) -> KnownScopes {
        let known = match self.scopes.get(authority) {
            Some(known) => known,
            None => {
                let found = self.discovered_known_scopes(authority).await;
                self.scopes.insert(authority.clone(), found.clone());
                found
            }
        };
        let upstream = self.registry.by_authority(authority);
        if let Some(UpstreamAuth::OAuth(settings)) = upstream.as_ref().map(|upstream| &*upstream.auth)
            && let Some(configured) = &settings.scopes
        {
            return KnownScopes { usual: Scopes::lenient(configured.split(' ')), ..known };
        }
        known
    }

    /// Remembers scopes that an upstream asked somebody for. What else is known grows no younger by that.
    pub(in crate::connect) async fn learn_scopes(&self, authority: &Authority, scopes: &Scopes) -> Result<(), Fault> {
        let stored = self.stored_discovery(authority).await.map_err(|error| error.fault)?;
        let (mut document, found_at) = stored.unwrap_or((Document::default(), Timestamp(0)));
        let known = Scopes::lenient(document.learnt.split(' '));
        let learnt = known.union(scopes).to_string();
        if scopes.is_subset(&known) || learnt.len() > MOST_LEARNT {
            return Ok(());
        }
        document.learnt = learnt;
        self.store_document(authority, &document, found_at).await.map_err(|error| error.fault)
    }

    /// The usual scopes of an earlier discovery.
    pub(in crate::connect) async fn discovered_scopes(&self, authority: &Authority) -> Scopes {
        self.discovered_known_scopes(authority).await.usual
    }

    pub(in crate::connect) async fn discovered_known_scopes(&self, authority: &Authority) -> KnownScopes {
        let Ok(Some((document, _))) = self.stored_discovery(authority).await else { return KnownScopes::default() };
        let hinted = document.hint.and_then(|hint| hint.scope);
        let usual = hinted.or_else(|| document.found.map(|found| found.scopes)).unwrap_or_default();
        let scopes = |text: &str| Scopes::lenient(text.split(' '));
        KnownScopes { usual: scopes(&usual), learnt: scopes(&document.learnt) }
    }
}
