//! The start: what to do next, and the address of a server here.

pub(super) mod address;
mod clients;
mod home;

use super::Dashboard;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// `/` and `/encode`.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/", get(home::show)).route("/encode", get(address::encode))
}
