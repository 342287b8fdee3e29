//! `/activity`: what happened, as plots and as a log.

use super::Dashboard;
use axum::Router;
use std::sync::Arc;

/// `/activity` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
}
