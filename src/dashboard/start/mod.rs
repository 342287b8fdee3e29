//! The start: what to do next, and the address of a server here.

pub(super) mod address;
mod checklist;
mod clients;
mod home;
mod outlook;

use super::Dashboard;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// `/`, `/encode` and `/start/outlook`.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/", get(home::show))
        .route("/encode", get(address::encode))
        .route("/start/outlook", post(outlook::show))
}
