//! What a person is told who opens the address of the unified endpoint in a browser.

use crate::hostname::Site;
use crate::page::{self, MessagePage};
use crate::paths;
use axum::Router;
use axum::routing::get;
use http::StatusCode;

/// The page, on the root domain; none where there is no endpoint.
pub fn visits(site: &Site, enabled: bool) -> Router {
    if !enabled {
        return Router::new();
    }
    let address = format!("{}{}", site.root_origin(), paths::UNIFIED);
    Router::new().route(
        paths::UNIFIED,
        get(async move || {
            page::message(&MessagePage {
                status: StatusCode::OK,
                title: "This address is for MCP clients",
                text: &format!("Give {address} to a client as the address of a server. It will be able to use everything that you have connected."),
                hint: Some("The client sends you here to sign in and asks for your consent first."),
                actions: vec![("Dashboard", "/")],
            })
        }),
    )
}
