//! `/system/configuration`: what the gateway goes by.

use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, ConfigurationPage};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use std::sync::Arc;

/// `GET /system/configuration`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, "/system/configuration").await?;
    Ok(page::configuration(&ConfigurationPage { account: rows::account(&person), in_force: &dashboard.in_force }))
}
