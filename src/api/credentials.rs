//! `/upstreams/{domain}/credentials`: what people give MCP servers by hand. It comes in and never goes out; who has given
//! what is in `/connections`.

use super::answer::Done;
use super::door::Administrator;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use crate::administration::CredentialChoice;
use crate::administration::records::NewCredentials;

/// Keep what a person gives an MCP server by hand
///
/// In place of earlier values of the same names; what is open with those ends. Nobody can read them again.
#[utoipa::path(
    put,
    path = "/upstreams/{domain}/credentials/{user_id}",
    operation_id = "put_credentials",
    tag = "upstreams"
)]
pub(super) async fn put(
    admin: Administrator,
    Path((domain, user_id)): Path<(String, String)>,
    Json(new): Json<NewCredentials>,
) -> Result<Done, Problem> {
    admin.may().put_credentials(admin.actor(), &domain, &user_id, &new).await?;
    Ok(Done)
}

/// Forget what a person gave an MCP server by hand
///
/// What is open with it ends.
#[utoipa::path(
    delete,
    path = "/upstreams/{domain}/credentials/{user_id}",
    operation_id = "delete_credentials",
    tag = "upstreams",
    params(CredentialChoice)
)]
pub(super) async fn delete(
    admin: Administrator,
    Path((domain, user_id)): Path<(String, String)>,
    Query(which): Query<CredentialChoice>,
) -> Result<Done, Problem> {
    admin.may().delete_credentials(admin.actor(), &domain, &user_id, &which).await?;
    Ok(Done)
}
