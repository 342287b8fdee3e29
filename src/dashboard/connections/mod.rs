//! `/connections`: what a person has connected, what becomes of it, and the ways to change or end it.

mod deeds;

use super::failure::Failure;
use super::{Dashboard, rows};
use crate::clock::Timestamp;
use crate::config::UpstreamAuth;
use crate::hostname::{Account, Authority, Encoded, Label, UpstreamAddress};
use crate::page::{self, ConnectionsPage, HeldRow, HeldUpstream, Moment, NextRefresh, Place};
use crate::services::ServiceName;
use crate::session::SignedIn;
use crate::store::{ConnectionState, HeldConnection};
use crate::upstream::Upstream;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// `/connections` and below, and `/grants/revoke`.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/connections", get(show))
        .route("/connections/disconnect", post(deeds::disconnect))
        .route("/connections/rename", post(deeds::rename))
        .route("/grants/revoke", post(deeds::revoke))
}

/// `GET /connections`
async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, Place::Connections.address()).await?;
    dashboard.connections_page(&person, StatusCode::OK, None).await
}

impl Dashboard {
    /// The page, saying why the last change was not made.
    async fn connections_page(
        &self,
        person: &SignedIn,
        status: StatusCode,
        error: Option<&str>,
    ) -> Result<Response, Failure> {
        let now = self.clock.now();
        let mut upstreams: Vec<HeldUpstream> = Vec::new();
        for held in self.store.held_connections(person.user.id).await? {
            // Services are on the account page.
            if ServiceName::from_stored(&held.row.authority).is_some() {
                continue;
            }
            let upstream = Authority::parse(&held.row.authority).ok().and_then(|one| self.registry.by_authority(&one));
            let upstream = upstream.as_deref();
            let permitted = upstream.is_none_or(|known| known.access.admits(person.user.id));
            if upstreams.last().is_none_or(|last| last.authority != held.row.authority) {
                upstreams.push(HeldUpstream {
                    name: upstream
                        .map_or_else(|| held.row.authority.clone(), |known| self.connections.display_name(known)),
                    can_add: permitted && upstream.is_some_and(has_accounts),
                    authority: held.row.authority.clone(),
                    connections: Vec::new(),
                });
            }
            let url = upstream.and_then(|upstream| self.address_for(upstream, &held.row.account));
            if let Some(last) = upstreams.last_mut() {
                last.connections.push(row(held, permitted, url, now));
            }
        }
        Ok(page::connections(&ConnectionsPage { status, account: rows::account(person), error, upstreams }))
    }

    /// What to give to a client for an account at an upstream; none where both together are too long for a label.
    fn address_for(&self, upstream: &Upstream, account: &str) -> Option<String> {
        let account = (!account.is_empty()).then(|| Account::parse(account)).transpose().ok()?;
        let encoded = || Label::encode(&upstream.authority).ok();
        let label = upstream.alias.as_deref().and_then(|alias| Label::parse(alias).ok()).or_else(encoded)?;
        let label = label.with_account(account).ok()?;
        let address = UpstreamAddress { authority: upstream.authority.clone(), path: "/".to_owned() };
        let path = self.connections.usual_path(upstream);
        Encoded::at(&label, (&address, path.as_deref()), &self.site).url
    }
}

/// Whether there is something of which a person may have several.
fn has_accounts(upstream: &Upstream) -> bool {
    matches!(&*upstream.auth, UpstreamAuth::OAuth(_)) || upstream.personal().is_some()
}

fn row(held: HeldConnection, permitted: bool, url: Option<String>, now: Timestamp) -> HeldRow {
    let next = next_refresh(&held, now);
    let row = rows::connection(held.row.clone(), String::new(), permitted, now);
    HeldRow {
        id: row.id,
        title: held.title,
        account: row.account,
        tone: row.tone,
        state: row.state,
        scopes: row.scopes,
        given: row.given,
        connected: Moment::new(held.row.created_at, now),
        used: held.last_used_at.map(|at| Moment::new(at, now)),
        renewed: Moment::new(held.row.updated_at, now),
        next,
        last_error: row.last_error,
        url,
        reconnect: row.reconnect,
    }
}

/// What the keeper of connections is going to do (`connect/keeper.rs`).
fn next_refresh(held: &HeldConnection, now: Timestamp) -> Option<NextRefresh> {
    let row = &held.row;
    if row.state != ConnectionState::Active || row.personal.is_some() {
        return None;
    }
    Some(match held.refresh_at {
        _ if row.refreshing_since.is_some() && row.last_error.is_none() => NextRefresh::Now,
        Some(at) if at <= now => NextRefresh::Now,
        Some(at) => NextRefresh::At(Moment::new(at, now)),
        None => NextRefresh::OnUse,
    })
}
