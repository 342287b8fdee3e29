//! `/signing-keys`: the keys that sign access tokens.

use super::answer::Found;
use super::door::Administrator;
use super::problem::Problem;
use crate::administration::Page;
use crate::administration::records::SigningKey;

/// List the keys that sign access tokens
#[utoipa::path(get, path = "/signing-keys", operation_id = "list_signing_keys", tag = "signing keys")]
pub(super) async fn list(admin: Administrator) -> Result<Found<Page<SigningKey>>, Problem> {
    Ok(Found(admin.may().signing_keys().await?))
}
