//! `/upstreams`: MCP servers, by their domain.

use super::answer::{Done, Found, Listed};
use super::door::Administrator;
use super::extract::{Json, Path};
use super::problem::{Body, Problem};
use crate::administration::Change;
use crate::administration::records::{Permission, ToolRules, Upstream, UpstreamDecision};

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

/// Say who may use an MCP server
///
/// These people and the members of these groups, and nobody else; what others have open there ends. Servers of the
/// configuration are permitted there.
#[utoipa::path(put, path = "/upstreams/{domain}/permission", operation_id = "permit_upstream", tag = "upstreams",
    responses((status = 409, body = Body, content_type = "application/problem+json",
        description = "The configuration names it.")))]
pub(super) async fn permit(
    admin: Administrator,
    Path(domain): Path<String>,
    Json(whom): Json<Permission>,
) -> Result<Found<Upstream>, Problem> {
    Ok(Found(admin.may().permit(admin.actor(), &domain, Change::Only(whom)).await?))
}

/// Let everybody use an MCP server
///
/// As far as it may be used at all.
#[utoipa::path(delete, path = "/upstreams/{domain}/permission", operation_id = "unrestrict_upstream", tag = "upstreams",
    responses(
        (status = 409, body = Body, content_type = "application/problem+json",
            description = "The configuration names it."),
        (status = 422, body = Body, content_type = "application/problem+json",
            description = "That is no domain."),
    ))]
pub(super) async fn unrestrict(admin: Administrator, Path(domain): Path<String>) -> Result<Done, Problem> {
    admin.may().permit(admin.actor(), &domain, Change::Everybody).await?;
    Ok(Done)
}

/// Say which tools of an MCP server may be used
///
/// In place of what was said before, from the next request on; streams that are open there end. What the configuration says
/// about them counts too.
#[utoipa::path(put, path = "/upstreams/{domain}/tools", operation_id = "permit_tools", tag = "upstreams")]
pub(super) async fn permit_tools(
    admin: Administrator,
    Path(domain): Path<String>,
    Json(rules): Json<ToolRules>,
) -> Result<Found<ToolRules>, Problem> {
    Ok(Found(admin.may().permit_tools(admin.actor(), &domain, rules).await?))
}

/// Let all tools of an MCP server be used
///
/// As far as the configuration lets them.
#[utoipa::path(delete, path = "/upstreams/{domain}/tools", operation_id = "permit_all_tools", tag = "upstreams",
    responses((status = 422, body = Body, content_type = "application/problem+json",
        description = "That is no domain.")))]
pub(super) async fn permit_all_tools(admin: Administrator, Path(domain): Path<String>) -> Result<Done, Problem> {
    admin.may().permit_tools(admin.actor(), &domain, ToolRules::default()).await?;
    Ok(Done)
}
