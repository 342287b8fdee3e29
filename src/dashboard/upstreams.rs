//! What administrators decide: which upstreams may be used.

use super::Dashboard;
use super::address::label_of;
use super::failure::{Failure, see_other};
use crate::hostname::{Authority, Label};
use crate::page::UpstreamRow;
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::store::{Decision, Role, Upstream as Decided};
use crate::upstream::{Note, Standing, State as Circuit, Upstream};
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::HeaderMap;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most upstreams that are listed as awaiting approval; strangers can make up as many as they like.
const MAX_AWAITING: usize = 50;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UpstreamForm {
    authority: String,
    csrf_token: String,
}

/// `POST /upstreams/approve`
pub(super) async fn approve(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<UpstreamForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let authority = Authority::parse(&sent.authority).map_err(|_| Failure::NotFound)?;
    dashboard.approve(&person, &arrival, authority).await?;
    Ok(see_other("/"))
}

/// `POST /upstreams/remove`
pub(super) async fn remove(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<UpstreamForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    must_administer(&person)?;
    if !dashboard.revocations.undecide(&sent.authority).await? {
        return Err(Failure::NotFound);
    }
    dashboard.audit.record(&person.user.name, "upstream.removed", &sent.authority, Some(arrival.client));
    Ok(see_other("/"))
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
        let earlier = self.store.upstream(authority.as_str()).await?;
        let (alias, name) = earlier.map(|earlier| (earlier.alias, earlier.name)).unwrap_or_default();
        let decided = Decided {
            authority: authority.to_string(),
            decision: Decision::Approved,
            alias,
            name,
            decided_by: Some(person.user.id),
            decided_at: self.clock.now(),
        };
        self.revocations.decide(&decided).await?;
        self.audit.record(&person.user.name, "upstream.approved", authority.as_str(), Some(arrival.client));
        Ok(())
    }

    /// All upstreams: those that wait for a decision first, then the configured, approved and denied ones.
    pub(super) async fn upstream_rows(&self) -> Result<Vec<UpstreamRow>, Failure> {
        let decided = self.store.upstreams().await?;
        let mut decisions: HashMap<String, Decision> =
            decided.into_iter().map(|row| (row.authority, row.decision)).collect();
        let mut rows = self.awaiting().await?;
        for known in self.registry.all() {
            let approved = decisions.remove(known.authority.as_str()).is_some();
            let row = row_of(&known, if approved { "Approved" } else { "Configured" }, approved);
            rows.push(UpstreamRow {
                trouble: self.health.find(&known.authority).and_then(|note| trouble(&note)),
                ..row
            });
        }
        let mut denied: Vec<String> = decisions.into_keys().collect();
        denied.sort();
        rows.extend(denied.into_iter().map(|authority| UpstreamRow {
            name: authority.clone(),
            authority,
            tone: "bad",
            standing: "Denied",
            trouble: None,
            can_approve: true,
            can_remove: true,
        }));
        Ok(rows)
    }

    /// Upstreams at whose hostnames clients have registered, and about which nobody has decided.
    async fn awaiting(&self) -> Result<Vec<UpstreamRow>, Failure> {
        let clients = self.store.clients().await?;
        let labels = clients.iter().filter_map(|client| Label::parse(&client.realm).ok());
        let waiting: BTreeMap<Authority, Arc<Upstream>> = labels
            .filter_map(|label| self.registry.find(&Label { account: None, ..label }))
            .filter(|upstream| upstream.standing == Standing::AwaitingApproval)
            .map(|upstream| (upstream.authority.clone(), upstream))
            .collect();
        let rows = waiting.values().take(MAX_AWAITING).map(|upstream| UpstreamRow {
            tone: "bad",
            can_approve: true,
            ..row_of(upstream, "Awaits your approval", false)
        });
        Ok(rows.collect())
    }

    /// The upstream of an authority, by the registry's rules.
    pub(super) fn upstream(&self, authority: &Authority) -> Option<Arc<Upstream>> {
        self.registry.find(&label_of(authority.clone(), None))
    }
}

fn must_administer(person: &SignedIn) -> Result<(), Failure> {
    if person.user.role == Role::Administrator { Ok(()) } else { Err(Failure::NotAdministrator) }
}

/// What an administrator should know about an upstream that does not work.
fn trouble(note: &Note) -> Option<String> {
    let (_, why) = note.last_failure.as_ref()?;
    Some(match note.state {
        Circuit::Closed => format!("The last request failed: {why}"),
        Circuit::Open | Circuit::Probing => format!("Out of order: {why}"),
    })
}

fn row_of(upstream: &Upstream, standing: &'static str, can_remove: bool) -> UpstreamRow {
    UpstreamRow {
        name: upstream.name.clone(),
        authority: upstream.authority.to_string(),
        tone: "good",
        standing,
        trouble: None,
        can_approve: false,
        can_remove,
    }
}
