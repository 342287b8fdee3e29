//! `/people/{id}`: one person.

use super::{SHOWN, address_of};
use crate::activity::{Range, Subject};
use crate::administration::records::{Connection, ConnectionState, Grant, Session, User};
use crate::administration::{GrantFilter, PageRequest, Refused};
use crate::dashboard::failure::{Failure, said};
use crate::dashboard::{Dashboard, rows};
use crate::hostname::Authority;
use crate::page::{
    self, BrowserRow, ElsewhereRow, GrantRow, GroupRow, KeyRow, LinkRow, Moment, PersonExtent, PersonPage, Place,
};
use crate::session::SignedIn;
use crate::store::{BY_ADMINISTRATOR, LinkedIdentity, Passkey};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// Which part of the lists.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PartQuery {
    connections: Option<String>,
    grants: Option<String>,
}

/// `GET /people/{id}`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(part): Query<PartQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::People.address()).await?;
    dashboard.person_page(&person, &id, (StatusCode::OK, None), &part).await
}

impl Dashboard {
    /// The page again, saying why something was not done.
    pub(super) async fn person_refused(
        &self,
        person: &SignedIn,
        id: &str,
        refused: Refused,
    ) -> Result<Response, Failure> {
        let (status, why) = said(refused)?;
        self.person_page(person, id, (status, Some(&why)), &PartQuery::default()).await
    }

    pub(super) async fn person_page(
        &self,
        person: &SignedIn,
        id: &str,
        (status, error): (StatusCode, Option<&str>),
        part: &PartQuery,
    ) -> Result<Response, Failure> {
        let user = self.administration.user(id).await?;
        let key = user.id.parse().map_err(|_| Failure::NotFound)?;
        let now = self.clock.now();
        let held = self.factors.of(key).await?;
        let sessions = self.administration.sessions_of(id).await?.items;
        let page = |after: &Option<String>| PageRequest { limit: Some(SHOWN), after: after.clone() };
        let connections = self.administration.connections(Some(id), &page(&part.connections)).await?;
        let filter = GrantFilter { user_id: Some(user.id.clone()), client_id: None };
        let grants = self.administration.grants(&filter, &page(&part.grants)).await?;
        let more =
            |next: Option<String>, what: &str| next.map(|next| format!("{}?{what}={next}#{what}", address_of(id)));
        Ok(page::person(&PersonPage {
            status,
            account: rows::account(person),
            error,
            oneself: person.user.id == key,
            has_password: user.has_password,
            authenticator: held.authenticator,
            recovery_codes: held.recovery_codes,
            passkeys: held.passkeys.into_iter().map(|passkey| self.key_row(passkey)).collect(),
            identities: self.store.identities_of(key).await?.into_iter().map(|one| self.elsewhere_row(one)).collect(),
            groups: group_rows(self.store.memberships_of(key).await?),
            more: (more(connections.next, "connections"), more(grants.next, "grants")),
            connections: connections.items.into_iter().map(|one| self.link_row(one)).collect(),
            grants: grants.items.into_iter().map(|grant| grant_row(grant, now)).collect(),
            extent: self.person_extent(&user).await?,
            sessions: sessions.into_iter().map(|session| browser_row(session, now)).collect(),
            row: self.person_row(user),
        }))
    }

    /// What a person has, and so what can end.
    pub(super) async fn person_extent(&self, user: &User) -> Result<PersonExtent, Failure> {
        let key = user.id.parse().map_err(|_| Failure::NotFound)?;
        let extent = self.store.person_extent(key, self.clock.now()).await?;
        let subject = Subject { person: Some(user.name.clone()), ..Subject::default() };
        let streams = self.activity.report(Range::Hour, &subject).await?.streams_now;
        let (sessions, connections, grants) = (extent.sessions, extent.connections, extent.grants);
        Ok(PersonExtent { sessions, connections, grants, streams })
    }

    fn key_row(&self, passkey: Passkey) -> KeyRow {
        let now = self.clock.now();
        KeyRow {
            id: passkey.id.to_string(),
            name: passkey.name,
            since: Moment::new(passkey.created_at, now),
            used: passkey.last_used_at.map(|at| Moment::new(at, now)),
        }
    }

    fn elsewhere_row(&self, identity: LinkedIdentity) -> ElsewhereRow {
        let known = self.providers.names().find(|(name, _)| *name == identity.provider);
        ElsewhereRow {
            provider: known.map_or(identity.issuer, |(_, label)| label.to_owned()),
            name: identity.name,
            used: Moment::new(identity.last_used_at, self.clock.now()),
        }
    }

    fn link_row(&self, connection: Connection) -> LinkRow {
        let authority = Authority::parse(&connection.domain).ok();
        let upstream = authority.and_then(|authority| self.registry.by_authority(&authority));
        let (tone, state) = match connection.state {
            ConnectionState::Active => ("good", "Connected"),
            ConnectionState::Open => ("quiet", "Needs no sign-in"),
            ConnectionState::NeedsConsent => ("bad", "Needs consent again"),
        };
        LinkRow {
            id: connection.id,
            name: upstream.map_or_else(|| connection.domain.clone(), |one| self.connections.display_name(&one)),
            authority: connection.domain,
            account: connection.account,
            tone,
            state,
            since: Moment::new(connection.created_at.0, self.clock.now()),
        }
    }
}

fn grant_row(grant: Grant, now: crate::clock::Timestamp) -> GrantRow {
    GrantRow {
        id: grant.id,
        client: grant.client_name,
        resource: grant.resource,
        scopes: grant.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        since: Moment::new(grant.created_at.0, now),
    }
}

fn browser_row(session: Session, now: crate::clock::Timestamp) -> BrowserRow {
    BrowserRow {
        id: session.id,
        device: session.browser,
        address: session.address,
        means: session.means,
        since: Moment::new(session.created_at.0, now),
        seen: Moment::new(session.last_seen_at.0, now),
    }
}

/// Each group once, with all who say so.
fn group_rows(memberships: Vec<(String, String)>) -> Vec<GroupRow> {
    let mut rows: Vec<GroupRow> = Vec::new();
    for (name, source) in memberships {
        if rows.last().is_none_or(|last| last.name != name) {
            rows.push(GroupRow { name, by_administrator: false, providers: Vec::new() });
        }
        let Some(row) = rows.last_mut() else { continue };
        match source.as_str() {
            BY_ADMINISTRATOR => row.by_administrator = true,
            _ => row.providers.push(source),
        }
    }
    rows
}
