//! The door for people: landing page, login, set-up, encoder, connections.

use crate::audit::Audit;
use crate::connect::Connections;
use crate::hostname::Site;
use crate::identity::Identity;
use crate::session::Sessions;
use crate::store::Store;
use crate::upstream::Registry;
use std::sync::Arc;

/// Everything the pages work with.
pub struct Dashboard {
    /// Our names.
    pub site: Site,
    /// People.
    pub identity: Arc<Identity>,
    /// Browsers.
    pub sessions: Arc<Sessions>,
    /// Rows.
    pub store: Store,
    /// Upstreams.
    pub registry: Arc<Registry>,
    /// Connections.
    pub connections: Arc<Connections>,
    /// Who did what.
    pub audit: Audit,
}

/// `/`, `/login`, `/logout`, `/setup`, `/encode`, `/oauth/start`, `/oauth/callback`, `/health`, static files.
pub fn routes(dashboard: Arc<Dashboard>) -> axum::Router {
    let _ = dashboard;
    todo!()
}
