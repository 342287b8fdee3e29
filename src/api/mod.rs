//! The door of programs: the admin API under `/api/v1` (docs/api.md).
//!
//! Routes and the OpenAPI document come out of the same handlers: `routes!` takes path and method from the attribute that
//! describes the operation, parameters, bodies and answers from its signature. A handler reaches what it works with
//! through an [`door::Administrator`] only.

mod activity;
mod answer;
mod api_keys;
mod audit;
mod clients;
mod connections;
mod credentials;
mod document;
mod door;
mod extract;
mod grants;
mod groups;
mod keys;
mod members;
mod problem;
mod services;
mod sessions;
mod upstreams;
mod users;

pub use door::{Api, Parts};

use crate::paths::API;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};
use problem::Problem;
use std::future::ready;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The largest body, in bytes.
const MAX_BODY: usize = 48 * 1024;

/// Everything below `/api`. Every request carries an [`crate::request::Arrival`].
pub fn routes(api: Arc<Api>) -> Router {
    let (operations, document) = described().split_for_parts();
    let text = document::text(&document::complete(document));
    let read_document = get(move || ready(([(header::CONTENT_TYPE, "application/json")], text.clone())));
    Router::new()
        .route(document::PATH, read_document)
        .merge(operations)
        .route("/api/{*rest}", axum::routing::any(async || Problem::not_found("there is nothing at this path")))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(guarded))
        .with_state(api)
}

/// The OpenAPI 3.1 document of the API.
pub fn document() -> OpenApi {
    document::complete(described().split_for_parts().1)
}

/// Every operation.
fn described() -> OpenApiRouter<Arc<Api>> {
    let operations = of_people().merge(of_programs()).merge(of_services()).merge(of_the_gateway());
    OpenApiRouter::with_openapi(document::preamble()).nest(API, operations)
}

fn of_people() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::get, users::change, users::delete))
        .routes(routes!(users::set_password))
        .routes(routes!(sessions::list, sessions::sign_out))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::reset_factors))
        .routes(routes!(connections::list))
        .routes(routes!(connections::delete))
        .routes(routes!(groups::list))
        .routes(routes!(groups::join, groups::leave))
        .routes(routes!(members::hidden))
        .routes(routes!(members::hide, members::show))
}

fn of_programs() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::get, clients::delete))
        .routes(routes!(grants::list))
        .routes(routes!(grants::revoke))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::revoke))
}

fn of_services() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(services::list))
        .routes(routes!(services::connections))
        .routes(routes!(services::disconnect))
        .routes(routes!(services::pats))
        .routes(routes!(services::put_pat, services::delete_pat))
}

fn of_the_gateway() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(upstreams::list))
        .routes(routes!(upstreams::get, upstreams::decide, upstreams::undecide))
        .routes(routes!(upstreams::permit, upstreams::unrestrict))
        .routes(routes!(upstreams::permit_tools, upstreams::permit_all_tools))
        .routes(routes!(credentials::put, credentials::delete))
        .routes(routes!(audit::list))
        .routes(routes!(activity::read))
        .routes(routes!(keys::list, keys::rotate))
}

/// Nothing here is kept by caches, guessed at by browsers, or read by pages of other origins.
async fn guarded(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
