//! `/servers`: which upstreams there are, what administrators decide about them, and who may use what of them.

mod live;
mod one;
mod permission;
mod rules;
mod tools;

use super::failure::{Failure, said};
use super::start::address::label_of;
use super::{Dashboard, rows};
use crate::administration::Actor;
use crate::administration::records::{Asked, Decision, Standing, Upstream, UpstreamDecision};
use crate::dashboard::sent::Deciding;
use crate::hostname::Authority;
use crate::page::{self, AskedRow, Moment, Place, ServersPage, UpstreamRow, WaitingRow};
use crate::session::SignedIn;
use crate::upstream::{self, Note, State as Circuit};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// `/servers` and below, and what its oldest buttons do.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/servers", get(show).post(add))
        .route("/servers/{authority}", get(one::show))
        .route("/servers/{authority}/deny", post(one::deny))
        .route("/servers/{authority}/name", post(one::name))
        .route("/servers/{authority}/look", post(one::look))
        .route("/servers/{authority}/permit", post(permission::permit))
        .route("/servers/{authority}/forbid", post(permission::forbid))
        .route("/servers/{authority}/everybody", post(permission::everybody))
        .route("/servers/{authority}/tools", get(tools::show).post(tools::save))
        .route("/servers/{authority}/tools/read", post(tools::read))
        .route("/upstreams/approve", post(approve))
        .route("/upstreams/remove", post(remove))
}

/// `GET /servers`
async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::Servers.address()).await?;
    dashboard.servers_page(&person, StatusCode::OK, (None, "")).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NewForm {
    domain: String,
}

/// `POST /servers`: an administrator names a server before anybody asks for it.
async fn add(State(dashboard): State<Arc<Dashboard>>, Deciding(sent): Deciding<NewForm>) -> Result<Response, Failure> {
    let approved = UpstreamDecision { decision: Decision::Approved, alias: None, name: None };
    match dashboard.administration.decide(&sent.actor(), sent.form.domain.trim(), &approved).await {
        Ok(upstream) => {
            let notice = "Approved: clients may connect from now on.";
            Ok(dashboard.done(&sent.person, &address_of(&upstream.domain), notice))
        }
        Err(refused) => {
            let (status, why) = said(refused)?;
            dashboard.servers_page(&sent.person, status, (Some(&why), &sent.form.domain)).await
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UpstreamForm {
    authority: String,
}

/// `POST /upstreams/approve`
async fn approve(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<UpstreamForm>,
) -> Result<Response, Failure> {
    let authority = Authority::parse(&sent.form.authority).map_err(|_| Failure::NotFound)?;
    dashboard.approve(&sent.actor(), authority).await?;
    Ok(dashboard.done(&sent.person, Place::Servers.address(), "Approved: clients may connect from now on."))
}

/// `POST /upstreams/remove`
async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<UpstreamForm>,
) -> Result<Response, Failure> {
    let streams = dashboard.streams_of_upstream(&sent.form.authority).await?;
    dashboard.administration.undecide(&sent.actor(), &sent.form.authority).await?;
    let notice = format!("The decision is forgotten{}.", ended(streams));
    Ok(dashboard.done(&sent.person, Place::Servers.address(), &notice))
}

/// The page of an upstream.
fn address_of(authority: &str) -> String {
    format!("{}/{authority}", Place::Servers.address())
}

/// What became of streams, for a notice.
fn ended(streams: u64) -> String {
    match streams {
        0 => String::new(),
        1 => "; one open stream ended".to_owned(),
        streams => format!("; {streams} open streams ended"),
    }
}

impl Dashboard {
    /// Lets an upstream in, also one that was denied earlier; its alias and name stay.
    pub(super) async fn approve(&self, actor: &Actor, authority: Authority) -> Result<(), Failure> {
        if self.site.is_own(&authority) {
            return Err(Failure::NotFound);
        }
        let approved = UpstreamDecision { decision: Decision::Approved, alias: None, name: None };
        self.administration.decide(actor, authority.as_str(), &approved).await?;
        Ok(())
    }

    /// All upstreams: those that wait for a decision first, then the configured ones, then those decided about.
    async fn servers_page(
        &self,
        person: &SignedIn,
        status: StatusCode,
        (error, typed): (Option<&str>, &str),
    ) -> Result<Response, Failure> {
        let all = self.administration.upstreams().await?.items;
        let (waiting, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.standing == Standing::Awaiting);
        let waiting = waiting.into_iter().map(|one| WaitingRow {
            address: address_of(&one.domain),
            asked: self.asked(one.asked),
            authority: one.domain,
        });
        Ok(page::servers(&ServersPage {
            status,
            account: rows::account(person),
            error,
            typed,
            waiting: waiting.collect(),
            upstreams: others.iter().map(|one| self.row(one)).collect(),
        }))
    }

    fn asked(&self, asked: Vec<Asked>) -> Vec<AskedRow> {
        let now = self.clock.now();
        let row = |one: Asked| AskedRow { user: one.user, client: one.client, when: Moment::new(one.at.0, now) };
        asked.into_iter().map(row).collect()
    }

    fn row(&self, known: &Upstream) -> UpstreamRow {
        let authority = Authority::parse(&known.domain).ok();
        let note = authority.as_ref().and_then(|authority| self.health.find(authority));
        let (tone, standing) = match known.standing {
            Standing::Awaiting => ("bad", "Awaits your approval"),
            Standing::Configured if known.program.is_some() => ("good", "Configured program"),
            Standing::Configured => ("good", "Configured"),
            Standing::Approved => ("good", "Approved"),
            Standing::Denied => ("bad", "Denied"),
        };
        let is_usable = matches!(known.standing, Standing::Configured | Standing::Approved);
        let limits = [(known.permission.is_some(), "not for everybody"), (known.tools.is_some(), "not all tools")];
        UpstreamRow {
            address: address_of(&known.domain),
            name: known.name.clone().unwrap_or_else(|| known.domain.clone()),
            authority: known.program.clone().unwrap_or_else(|| known.domain.clone()),
            tone,
            standing,
            limits: limits.into_iter().filter(|(is_so, _)| *is_so).map(|(_, limit)| limit).collect(),
            trouble: note.filter(|_| is_usable).and_then(|note| trouble(&note)),
        }
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
