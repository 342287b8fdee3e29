//! `/programs`: clients, grants, API keys, services.

use super::Dashboard;
use axum::Router;
use std::sync::Arc;

/// `/programs` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
}
