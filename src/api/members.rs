//! `/users/{id}/hidden-members`: what people do not see at `/mcp`.

use super::answer::{Done, Listed};
use super::door::Administrator;
use super::extract::{Path, Query};
use super::problem::Problem;
use crate::administration::AccountChoice;
use crate::administration::records::Member;

/// List what a person has hidden from `/mcp`
///
/// Everything else that the person has connected appears there.
#[utoipa::path(get, path = "/users/{id}/hidden-members", operation_id = "list_hidden_members", tag = "users")]
pub(super) async fn hidden(admin: Administrator, Path(id): Path<String>) -> Result<Listed<Member>, Problem> {
    Ok(Listed(admin.may().hidden_members(&id).await?))
}

/// Hide an MCP server from a person's `/mcp`
#[utoipa::path(
    put,
    path = "/users/{id}/hidden-members/{domain}",
    operation_id = "hide_member",
    tag = "users",
    params(AccountChoice)
)]
pub(super) async fn hide(
    admin: Administrator,
    Path((id, domain)): Path<(String, String)>,
    Query(which): Query<AccountChoice>,
) -> Result<Done, Problem> {
    admin.may().select_member(admin.actor(), &id, (&domain, &which.account), false).await?;
    Ok(Done)
}

/// Show an MCP server at a person's `/mcp` again
#[utoipa::path(
    delete,
    path = "/users/{id}/hidden-members/{domain}",
    operation_id = "show_member",
    tag = "users",
    params(AccountChoice)
)]
pub(super) async fn show(
    admin: Administrator,
    Path((id, domain)): Path<(String, String)>,
    Query(which): Query<AccountChoice>,
) -> Result<Done, Problem> {
    admin.may().select_member(admin.actor(), &id, (&domain, &which.account), true).await?;
    Ok(Done)
}
