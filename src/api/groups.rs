//! `/groups` and `/users/{id}/groups`: who belongs together.

use super::answer::{Found, Listed};
use super::door::Administrator;
use super::extract::Path;
use super::problem::Problem;
use crate::administration::records::{Group, User};

/// List groups
///
/// All that have members, whoever said so.
#[utoipa::path(get, path = "/groups", operation_id = "list_groups", tag = "users")]
pub(super) async fn list(admin: Administrator) -> Result<Listed<Group>, Problem> {
    Ok(Listed(admin.may().groups().await?))
}

/// Put a person into a group
#[utoipa::path(put, path = "/users/{id}/groups/{group}", operation_id = "join_group", tag = "users")]
pub(super) async fn join(
    admin: Administrator,
    Path((id, group)): Path<(String, String)>,
) -> Result<Found<User>, Problem> {
    Ok(Found(admin.may().join(admin.actor(), &id, &group).await?))
}

/// Take a person out of a group
///
/// One that an administrator put the person into; what an identity provider reports is changed there.
#[utoipa::path(delete, path = "/users/{id}/groups/{group}", operation_id = "leave_group", tag = "users")]
pub(super) async fn leave(
    admin: Administrator,
    Path((id, group)): Path<(String, String)>,
) -> Result<Found<User>, Problem> {
    Ok(Found(admin.may().leave(admin.actor(), &id, &group).await?))
}
