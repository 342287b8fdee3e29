//! `/upstreams`: MCP servers, by their domain.

use super::answer::{Done, Found, Listed};
use super::door::Administrator;
use super::extract::{Json, Path};
use super::problem::{Body, Problem};
use crate::administration::records::{Upstream, UpstreamDecision};

/// List MCP servers
///
/// Those that wait for a decision, those of the configuration, and those decided about.
#[utoipa::path(get, path = "/upstreams", operation_id = "list_upstreams", tag = "upstreams")]
pub(super) async fn list(admin: Administrator) -> Result<Listed<Upstream>, Problem> {
    Ok(Listed(admin.may().upstreams().await?))
}

/// Read an MCP server
#[utoipa::path(get, path = "/upstreams/{domain}", operation_id = "get_upstream", tag = "upstreams")]
pub(super) async fn get(admin: Administrator, Path(domain): Path<String>) -> Result<Found<Upstream>, Problem> {
    Ok(Found(admin.may().upstream(&domain).await?))
}

/// Decide about an MCP server
///
/// What is open at one that is denied ends.
#[utoipa::path(put, path = "/upstreams/{domain}", operation_id = "decide_upstream", tag = "upstreams",
    responses((status = 409, body = Body, content_type = "application/problem+json",
        description = "The configuration names it, or another one has that alias.")))]
pub(super) async fn decide(
    admin: Administrator,
    Path(domain): Path<String>,
    Json(decision): Json<UpstreamDecision>,
) -> Result<Found<Upstream>, Problem> {
    Ok(Found(admin.may().decide(admin.actor(), &domain, &decision).await?))
}

/// Forget the decision about an MCP server
///
/// What is open there ends, unless unknown servers are allowed.
#[utoipa::path(delete, path = "/upstreams/{domain}", operation_id = "delete_upstream", tag = "upstreams")]
pub(super) async fn undecide(admin: Administrator, Path(domain): Path<String>) -> Result<Done, Problem> {
    admin.may().undecide(admin.actor(), &domain).await?;
    Ok(Done)
}
