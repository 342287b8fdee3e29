//! The upstreams we know: those of the configuration and those that an administrator decided about.

use crate::config::{UpstreamAuth, UpstreamConfig, Upstreams};
use crate::error::Fault;
use crate::hostname::{Authority, Label, Site};
use crate::store::Store;
use std::sync::Arc;

/// An upstream as the rest of the program sees it.
pub struct Upstream {
    /// Which.
    pub authority: Authority,
    /// For people: the configured name, or the authority.
    pub name: String,
    /// A readable label, if it has one.
    pub alias: Option<String>,
    /// The path of its MCP endpoint, where known.
    pub path: Option<String>,
    /// How we get in.
    pub auth: Arc<UpstreamAuth>,
    /// Whether private addresses are allowed for it.
    pub allow_private: bool,
    /// Whether it may be used.
    pub standing: Standing,
}

/// Whether an upstream may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Configured, approved, or `unknown = "allow"`.
    Allowed,
    /// Well-formed, and an administrator has not decided yet.
    AwaitingApproval,
}

/// All upstreams, in memory. Look-ups never wait.
pub struct Registry {}

impl Registry {
    /// Loads the decisions from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new(
        policy: &Upstreams,
        configured: Vec<UpstreamConfig>,
        site: Site,
        store: Store,
    ) -> Result<Self, Fault> {
        let _ = (policy, configured, site, store);
        todo!()
    }

    /// The upstream of a label; `None` is a 404: an unknown alias, a denied, forbidden or own address. Nothing is looked
    /// up in the DNS.
    pub fn find(&self, label: &Label) -> Option<Arc<Upstream>> {
        let _ = label;
        todo!()
    }

    /// Everything configured or approved, sorted by name.
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        todo!()
    }

    /// Counts up whenever an answer of [`Registry::find`] may have changed, so that callers can cache.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// Reads the decisions again, after [`crate::store::Change::UpstreamsChanged`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reload(&self) -> Result<(), Fault> {
        todo!()
    }
}
