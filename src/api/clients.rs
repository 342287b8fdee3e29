//! `/clients`: OAuth clients.

use super::answer::{Created, Found, Listed};
use super::document::path;
use super::door::Administrator;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use crate::administration::PageRequest;
use crate::administration::records::{Client, CreatedClient, Ended, NewClient};

/// List OAuth clients
///
/// Those that registered, and those that people granted something to.
#[utoipa::path(get, path = "/clients", operation_id = "list_clients", tag = "clients", params(PageRequest))]
pub(super) async fn list(admin: Administrator, Query(page): Query<PageRequest>) -> Result<Listed<Client>, Problem> {
    Ok(Listed(admin.may().clients(&page).await?))
}

/// Make a machine client
///
/// A program that acts for a person without one being there. The answer has its secret; nobody can show it again.
#[utoipa::path(post, path = "/clients", operation_id = "create_client", tag = "clients")]
pub(super) async fn create(
    admin: Administrator,
    Json(new): Json<NewClient>,
) -> Result<Created<CreatedClient>, Problem> {
    let made = admin.may().create_client(admin.actor(), &new).await?;
    Ok(Created { location: path(&format!("/clients/{}/{}", made.realm, made.id)), body: made })
}

/// Read an OAuth client
///
/// By its realm, `-` for the root domain, and its id. An id that is a URL is percent-encoded, slashes too.
#[utoipa::path(get, path = "/clients/{realm}/{client_id}", operation_id = "get_client", tag = "clients")]
pub(super) async fn get(
    admin: Administrator,
    Path((realm, client_id)): Path<(String, String)>,
) -> Result<Found<Client>, Problem> {
    Ok(Found(admin.may().client(&realm, &client_id).await?))
}

/// Delete an OAuth client
///
/// What people granted to it at this realm ends.
#[utoipa::path(delete, path = "/clients/{realm}/{client_id}", operation_id = "delete_client", tag = "clients")]
pub(super) async fn delete(
    admin: Administrator,
    Path((realm, client_id)): Path<(String, String)>,
) -> Result<Found<Ended>, Problem> {
    let grants = admin.may().delete_client(admin.actor(), Some(&realm), &client_id).await?;
    Ok(Found(Ended { grants, connections: 0 }))
}
