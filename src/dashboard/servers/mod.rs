//! `/servers`: which upstreams there are, and what administrators decide about them.

use super::failure::Failure;
use super::start::address::label_of;
use super::{Dashboard, must_administer, rows};
use crate::administration::Actor;
use crate::administration::records::{Decision, Standing, Upstream, UpstreamDecision};
use crate::hostname::Authority;
use crate::page::{self, Place, ServersPage, UpstreamRow};
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::upstream::{self, Note, State as Circuit};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

/// `/servers`, and what its buttons do.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/servers", get(show))
        .route("/upstreams/approve", post(approve))
        .route("/upstreams/remove", post(remove))
}

/// `GET /servers`
async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::Servers.address()).await?;
    let upstreams = dashboard.upstream_rows().await?;
    Ok(page::servers(&ServersPage { account: rows::account(&person), upstreams }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UpstreamForm {
    authority: String,
    csrf_token: String,
}

/// `POST /upstreams/approve`
async fn approve(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<UpstreamForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let authority = Authority::parse(&sent.authority).map_err(|_| Failure::NotFound)?;
    dashboard.approve(&person, &arrival, authority).await?;
    Ok(dashboard.done(&person, Place::Servers.address(), "Approved: clients may connect from now on."))
}

/// `POST /upstreams/remove`
async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<UpstreamForm>,
) -> Result<Response, Failure> {
    let person = dashboard.deciding(&headers, &sent.csrf_token).await?;
    let actor = Actor::person(&person.user, arrival.client);
    dashboard.administration.undecide(&actor, &sent.authority).await?;
    Ok(dashboard.done(&person, Place::Servers.address(), "Removed."))
}

impl Dashboard {
    /// Lets an upstream in, also one that was denied earlier; its alias and name stay.
    pub(super) async fn approve(
        &self,
        person: &SignedIn,
        arrival: &Arrival,
        authority: Authority,
    ) -> Result<(), Failure> {
        must_administer(person)?;
        if self.site.is_own(&authority) {
            return Err(Failure::NotFound);
        }
        let approved = UpstreamDecision { decision: Decision::Approved, alias: None, name: None };
        let actor = Actor::person(&person.user, arrival.client);
        self.administration.decide(&actor, authority.as_str(), &approved).await?;
        Ok(())
    }

    /// All upstreams: those that wait for a decision first, then the configured ones, then those decided about.
    pub(super) async fn upstream_rows(&self) -> Result<Vec<UpstreamRow>, Failure> {
        let row = |known: Upstream| {
            let authority = Authority::parse(&known.domain).ok();
            let note = authority.as_ref().and_then(|authority| self.health.find(authority));
            let is_program = authority.is_some_and(|authority| authority.is_program());
            let (tone, standing) = match known.standing {
                Standing::Awaiting => ("bad", "Awaits your approval"),
                Standing::Configured if is_program => ("good", "Configured program"),
                Standing::Configured => ("good", "Configured"),
                Standing::Approved => ("good", "Approved"),
                Standing::Denied => ("bad", "Denied"),
            };
            let is_usable = matches!(known.standing, Standing::Configured | Standing::Approved);
            let name = known.name.unwrap_or_else(|| known.domain.clone());
            UpstreamRow {
                // Nobody can do anything with what stands for the domain of a program.
                authority: match known.program {
                    Some(program) => program,
                    None => known.domain,
                },
                name,
                tone,
                standing,
                trouble: note.filter(|_| is_usable).and_then(|note| trouble(&note)),
                can_approve: !is_usable,
                can_remove: matches!(known.standing, Standing::Approved | Standing::Denied),
            }
        };
        Ok(self.administration.upstreams().await?.items.into_iter().map(row).collect())
    }

    /// The upstream of an authority, by the registry's rules.
    pub(super) fn upstream(&self, authority: &Authority) -> Option<Arc<upstream::Upstream>> {
        self.registry.find(&label_of(authority.clone(), None))
    }
}

/// What an administrator should know about an upstream that does not work.
fn trouble(note: &Note) -> Option<String> {
    let (_, why) = note.last_failure.as_ref()?;
    Some(match note.state {
        Circuit::Closed => format!("The last request failed: {why}"),
        Circuit::Open | Circuit::Probing => format!("Out of order: {why}"),
    })
}
