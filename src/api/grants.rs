//! `/grants`: what people granted to clients.

use super::answer::{Done, Listed};
use super::door::Administrator;
use super::extract::{Path, Query};
use super::problem::Problem;
use crate::administration::records::Grant;
use crate::administration::{GrantFilter, PageRequest};

/// List grants in force
///
/// Newest first.
#[utoipa::path(get, path = "/grants", operation_id = "list_grants", tag = "grants", params(GrantFilter, PageRequest))]
pub(super) async fn list(
    admin: Administrator,
    Query(filter): Query<GrantFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<Grant>, Problem> {
    Ok(Listed(admin.may().grants(&filter, &page).await?))
}

/// Revoke a grant
///
/// Its tokens are worth nothing from then on, and its streams end.
#[utoipa::path(delete, path = "/grants/{id}", operation_id = "revoke_grant", tag = "grants")]
pub(super) async fn revoke(admin: Administrator, Path(id): Path<String>) -> Result<Done, Problem> {
    admin.may().revoke_grant(admin.actor(), &id).await?;
    Ok(Done)
}
