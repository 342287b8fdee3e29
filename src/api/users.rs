//! `/users`: people.

use super::answer::{Created, Done, Found, Listed};
use super::document::path;
use super::door::Administrator;
use super::extract::{Json, Path, Query};
use super::problem::{Body, Problem};
use crate::administration::PageRequest;
use crate::administration::records::{Ended, NewUser, User, UserChange};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which people.
#[derive(Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct UserFilter {
    /// Only the one with this name.
    name: Option<String>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// At least 8 characters.
    #[schema(value_type = String, format = Password, min_length = 8)]
    password: Secret,
}

/// List people
///
/// By name.
#[utoipa::path(get, path = "/users", operation_id = "list_users", tag = "users", params(UserFilter, PageRequest))]
pub(super) async fn list(
    admin: Administrator,
    Query(filter): Query<UserFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<User>, Problem> {
    Ok(Listed(admin.may().users(filter.name.as_deref(), &page).await?))
}

/// Add a person
#[utoipa::path(post, path = "/users", operation_id = "create_user", tag = "users",
    responses((status = 409, body = Body, content_type = "application/problem+json", description = "The name is taken.")))]
pub(super) async fn create(admin: Administrator, Json(new): Json<NewUser>) -> Result<Created<User>, Problem> {
    let user = admin.may().create_user(admin.actor(), new).await?;
    Ok(Created { location: path(&format!("/users/{}", user.id)), body: user })
}

/// Read a person
#[utoipa::path(get, path = "/users/{id}", operation_id = "get_user", tag = "users")]
pub(super) async fn get(admin: Administrator, Path(id): Path<String>) -> Result<Found<User>, Problem> {
    Ok(Found(admin.may().user(&id).await?))
}

/// Change a person
///
/// What is not named stays.
#[utoipa::path(patch, path = "/users/{id}", operation_id = "change_user", tag = "users",
    responses((status = 409, body = Body, content_type = "application/problem+json",
        description = "Nobody would administer the gateway afterwards.")))]
pub(super) async fn change(
    admin: Administrator,
    Path(id): Path<String>,
    Json(change): Json<UserChange>,
) -> Result<Found<User>, Problem> {
    Ok(Found(admin.may().change_user(admin.actor(), &id, &change).await?))
}

/// Give a person a new password
///
/// All the person's browsers are signed out.
#[utoipa::path(put, path = "/users/{id}/password", operation_id = "set_password", tag = "users")]
pub(super) async fn set_password(
    admin: Administrator,
    Path(id): Path<String>,
    Json(new): Json<NewPassword>,
) -> Result<Done, Problem> {
    admin.may().set_password(admin.actor(), &id, &new.password).await?;
    Ok(Done)
}

/// Remove a person
///
/// Sessions, grants and connections end with the person.
#[utoipa::path(delete, path = "/users/{id}", operation_id = "delete_user", tag = "users",
    responses((status = 409, body = Body, content_type = "application/problem+json",
        description = "Nobody would administer the gateway afterwards.")))]
pub(super) async fn delete(admin: Administrator, Path(id): Path<String>) -> Result<Found<Ended>, Problem> {
    Ok(Found(admin.may().delete_user(admin.actor(), &id).await?))
}
