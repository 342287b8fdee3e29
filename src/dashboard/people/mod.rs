//! `/people`: who may sign in, and with what.

use super::Dashboard;
use axum::Router;
use std::sync::Arc;

/// `/people` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
}
