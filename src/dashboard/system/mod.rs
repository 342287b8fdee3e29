//! `/system`: how the gateway itself does. `/doctor`: why a client does not connect.

mod doctor;

use super::Dashboard;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// `/system`, `/doctor` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/doctor", get(doctor::show)).route("/doctor/stream", get(doctor::stream))
}
