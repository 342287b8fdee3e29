//! `/api-keys`: keys of programs.

use super::answer::{Created, Done, Listed};
use super::document::path;
use super::door::Administrator;
use super::extract::{Json, Path};
use super::problem::Problem;
use crate::administration::records::{ApiKey, CreatedApiKey, NewApiKey};

/// List API keys
///
/// Without their secrets, oldest first.
#[utoipa::path(get, path = "/api-keys", operation_id = "list_api_keys", tag = "API keys")]
pub(super) async fn list(admin: Administrator) -> Result<Listed<ApiKey>, Problem> {
    Ok(Listed(admin.may().api_keys().await?))
}

/// Make an API key
///
/// The answer has the key; nobody can show it again.
#[utoipa::path(post, path = "/api-keys", operation_id = "create_api_key", tag = "API keys")]
pub(super) async fn create(
    admin: Administrator,
    Json(new): Json<NewApiKey>,
) -> Result<Created<CreatedApiKey>, Problem> {
    let made = admin.may().create_api_key(admin.actor(), &new).await?;
    Ok(Created { location: path(&format!("/api-keys/{}", made.id)), body: made })
}

/// Revoke an API key
///
/// It is worth nothing from then on, everywhere.
#[utoipa::path(delete, path = "/api-keys/{id}", operation_id = "revoke_api_key", tag = "API keys")]
pub(super) async fn revoke(admin: Administrator, Path(id): Path<String>) -> Result<Done, Problem> {
    admin.may().revoke_api_key(admin.actor(), &id).await?;
    Ok(Done)
}
