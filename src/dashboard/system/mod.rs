//! `/system`: how the gateway itself does. `/doctor`: why a client does not connect.

mod configuration;
mod doctor;
mod notes;
mod overview;

use super::Dashboard;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// `/system`, `/doctor` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/system", get(overview::show))
        .route("/system/configuration", get(configuration::show))
        .route("/system/notes", get(notes::show))
        .route("/system/keys/rotate", post(overview::rotate_keys))
        .route("/doctor", get(doctor::show))
        .route("/doctor/stream", get(doctor::stream))
}
