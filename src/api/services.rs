//! `/services`: services of the token broker, and who has connected them.

use super::answer::{Done, Listed};
use super::door::Administrator;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use crate::administration::records::{NewServicePat, Service, ServiceConnection, ServicePat};
use crate::administration::{PageRequest, ServiceConnectionFilter};

/// List services of the token broker
#[utoipa::path(get, path = "/services", operation_id = "list_services", tag = "services")]
pub(super) async fn list(admin: Administrator) -> Result<Listed<Service>, Problem> {
    Ok(Listed(admin.may().services()))
}

/// List people's connections at a service
#[utoipa::path(
    get,
    path = "/services/{name}/connections",
    operation_id = "list_service_connections",
    tag = "services",
    params(ServiceConnectionFilter, PageRequest)
)]
pub(super) async fn connections(
    admin: Administrator,
    Path(name): Path<String>,
    Query(filter): Query<ServiceConnectionFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<ServiceConnection>, Problem> {
    Ok(Listed(admin.may().service_connections(&name, &filter, &page).await?))
}

/// End a person's connection at a service
///
/// It is given back to the provider where that is possible. A personal access token stays.
#[utoipa::path(
    delete,
    path = "/services/{name}/connections/{user_id}",
    operation_id = "disconnect_service",
    tag = "services"
)]
pub(super) async fn disconnect(
    admin: Administrator,
    Path((name, user_id)): Path<(String, String)>,
) -> Result<Done, Problem> {
    admin.may().disconnect_service(admin.actor(), &name, &user_id).await?;
    Ok(Done)
}

/// List who keeps a personal access token for a service
///
/// Never the tokens themselves.
#[utoipa::path(
    get,
    path = "/services/{name}/pats",
    operation_id = "list_service_pats",
    tag = "services",
    params(PageRequest)
)]
pub(super) async fn pats(
    admin: Administrator,
    Path(name): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Listed<ServicePat>, Problem> {
    Ok(Listed(admin.may().service_pats(&name, &page).await?))
}

/// Keep a person's personal access token for a service
///
/// In place of an earlier one. Nobody can read it again.
#[utoipa::path(put, path = "/services/{name}/pats/{user_id}", operation_id = "put_service_pat", tag = "services")]
pub(super) async fn put_pat(
    admin: Administrator,
    Path((name, user_id)): Path<(String, String)>,
    Json(new): Json<NewServicePat>,
) -> Result<Done, Problem> {
    admin.may().put_service_pat(admin.actor(), &name, &user_id, &new.pat).await?;
    Ok(Done)
}

/// Forget a person's personal access token for a service
#[utoipa::path(delete, path = "/services/{name}/pats/{user_id}", operation_id = "delete_service_pat", tag = "services")]
pub(super) async fn delete_pat(
    admin: Administrator,
    Path((name, user_id)): Path<(String, String)>,
) -> Result<Done, Problem> {
    admin.may().delete_service_pat(admin.actor(), &name, &user_id).await?;
    Ok(Done)
}
