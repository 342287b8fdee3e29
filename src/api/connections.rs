//! `/connections`: people's authorizations at MCP servers.

use super::answer::{Done, Listed};
use super::door::Administrator;
use super::extract::{Path, Query};
use super::problem::Problem;
use crate::administration::PageRequest;
use crate::administration::records::Connection;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Which connections.
#[derive(Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionFilter {
    /// Only those of the person with this id.
    user_id: Option<String>,
}

/// List connections
#[utoipa::path(
    get,
    path = "/connections",
    operation_id = "list_connections",
    tag = "connections",
    params(ConnectionFilter, PageRequest)
)]
pub(super) async fn list(
    admin: Administrator,
    Query(filter): Query<ConnectionFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<Connection>, Problem> {
    Ok(Listed(admin.may().connections(filter.user_id.as_deref(), &page).await?))
}

/// Delete a connection with its tokens
///
/// What is open with them ends.
#[utoipa::path(delete, path = "/connections/{id}", operation_id = "delete_connection", tag = "connections")]
pub(super) async fn delete(admin: Administrator, Path(id): Path<String>) -> Result<Done, Problem> {
    admin.may().delete_connection(admin.actor(), &id).await?;
    Ok(Done)
}
