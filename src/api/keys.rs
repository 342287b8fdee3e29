//! `/signing-keys`: the keys that sign access tokens.

use super::answer::{Created, Listed};
use super::document::path;
use super::door::Administrator;
use super::extract::Json;
use super::problem::Problem;
use crate::administration::records::{NewSigningKey, SigningKey};

/// List the keys that sign access tokens
///
/// In the order in which they sign.
#[utoipa::path(get, path = "/signing-keys", operation_id = "list_signing_keys", tag = "signing keys")]
pub(super) async fn list(admin: Administrator) -> Result<Listed<SigningKey>, Problem> {
    Ok(Listed(admin.may().signing_keys().await?))
}

/// Make a new signing key
///
/// It is published at once and signs a day later, so that whoever keeps a copy of the key set knows it by then.
#[utoipa::path(post, path = "/signing-keys", operation_id = "rotate_signing_keys", tag = "signing keys")]
pub(super) async fn rotate(
    admin: Administrator,
    Json(new): Json<NewSigningKey>,
) -> Result<Created<SigningKey>, Problem> {
    let key = admin.may().rotate_signing_keys(admin.actor(), &new).await?;
    Ok(Created { location: path("/signing-keys"), body: key })
}
