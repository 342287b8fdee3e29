//! `/servers/{authority}`: one upstream, and what is decided about it.

use super::{address_of, ended, live, rules};
use crate::activity::{Range, Subject};
use crate::administration::records::{Decision, Standing, Upstream, UpstreamDecision};
use crate::dashboard::failure::{Failure, said};
use crate::dashboard::sent::{Deciding, Nothing};
use crate::dashboard::{Dashboard, rows};
use crate::doctor::{self, Report, Target};
use crate::hostname::{Authority, Encoded, Label, UpstreamAddress};
use crate::page::{self, Moment, PermissionSection, Place, ServerDeeds, ServerPage, UpstreamExtent};
use crate::session::SignedIn;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// `GET /servers/{authority}`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path(authority): Path<String>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::Servers.address()).await?;
    dashboard.server_page(&person, &authority, Shown::default()).await
}

/// `POST /servers/{authority}/deny`
pub(super) async fn deny(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<Nothing>,
) -> Result<Response, Failure> {
    let streams = dashboard.streams_of_upstream(&authority).await?;
    let denied = UpstreamDecision { decision: Decision::Denied, alias: None, name: None };
    match dashboard.administration.decide(&sent.actor(), &authority, &denied).await {
        Ok(_) => {
            let notice = format!("Denied: nobody can use {authority}{}.", ended(streams));
            Ok(dashboard.done(&sent.person, Place::Servers.address(), &notice))
        }
        Err(refused) => dashboard.server_refused(&sent.person, &authority, refused).await,
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NameForm {
    name: String,
    alias: String,
}

/// `POST /servers/{authority}/name`
pub(super) async fn name(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<NameForm>,
) -> Result<Response, Failure> {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let names = (some(&sent.form.name), some(&sent.form.alias));
    match dashboard.administration.rename_upstream(&sent.actor(), &authority, names).await {
        Ok(_) => Ok(dashboard.done(&sent.person, &address_of(&authority), "Saved.")),
        Err(refused) => dashboard.server_refused(&sent.person, &authority, refused).await,
    }
}

/// `POST /servers/{authority}/look`: what it says about itself, before anybody decides.
pub(super) async fn look(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<Nothing>,
) -> Result<Response, Failure> {
    let known = dashboard.administration.upstream(&authority).await?;
    dashboard.limits.check_registration(sent.client)?;
    let Some(report) = dashboard.look_at(&known.domain).await? else {
        let why = Some("Other servers are being looked at. Try again in a minute.");
        let shown = Shown { status: StatusCode::TOO_MANY_REQUESTS, error: why, found: None };
        return dashboard.server_page(&sent.person, &authority, shown).await;
    };
    dashboard.record(&sent, "upstream.examined", &known.domain);
    dashboard.server_page(&sent.person, &authority, Shown { found: Some(&report), ..Shown::default() }).await
}

/// What a page of an upstream tells besides the upstream.
pub(super) struct Shown<'a> {
    pub(super) status: StatusCode,
    pub(super) error: Option<&'a str>,
    pub(super) found: Option<&'a Report>,
}

impl Default for Shown<'_> {
    fn default() -> Self {
        Self { status: StatusCode::OK, error: None, found: None }
    }
}

impl Dashboard {
    pub(super) async fn server_page(
        &self,
        person: &SignedIn,
        authority: &str,
        shown: Shown<'_>,
    ) -> Result<Response, Failure> {
        let known = self.administration.upstream(authority).await?;
        let list = self.store.tool_list(&known.domain).await?;
        let tools = list.as_ref().map(live::remembered);
        let said_by_configuration = Authority::parse(&known.domain).ok();
        let configured = said_by_configuration.and_then(|authority| self.registry.tools_by_configuration(&authority));
        let also = if configured.is_some() { " The configuration limits them too." } else { "" };
        let (name, alias) = match known.standing {
            Standing::Configured => Default::default(),
            _ => (known.name.clone().unwrap_or_default(), known.alias.clone().unwrap_or_default()),
        };
        Ok(page::server(&ServerPage {
            status: shown.status,
            account: rows::account(person),
            error: shown.error,
            row: self.row(&known),
            id: &known.domain,
            deeds: deeds(&known),
            urls: self.urls_of(&known),
            given_name: &name,
            alias: &alias,
            asked: self.asked(known.asked.clone()),
            decided: known.decided_at.map(|at| Moment::new(at.0, self.clock.now())),
            found: shown.found,
            permission: self.permission(&known).await?,
            tools: format!("{}{also}", rules::in_words(known.tools.as_ref(), tools.as_deref())),
            extent: self.upstream_extent(&known).await?,
        }))
    }

    /// The page again, saying why something was not done.
    pub(super) async fn server_refused(
        &self,
        person: &SignedIn,
        authority: &str,
        refused: crate::administration::Refused,
    ) -> Result<Response, Failure> {
        let (status, why) = said(refused)?;
        self.server_page(person, authority, Shown { status, error: Some(&why), found: None }).await
    }

    /// How many streams are open at an upstream.
    pub(super) async fn streams_of_upstream(&self, authority: &str) -> Result<u64, Failure> {
        let subject = Subject { upstream: Some(authority.to_owned()), ..Subject::default() };
        Ok(self.activity.report(Range::Hour, &subject).await?.streams_now)
    }

    async fn upstream_extent(&self, known: &Upstream) -> Result<UpstreamExtent, Failure> {
        let labels: Vec<String> = known.label.iter().chain(&known.alias).cloned().collect();
        let extent = self.store.upstream_extent(&known.domain, &labels).await?;
        let (connections, people, grants) = (extent.connections, extent.people, extent.grants);
        Ok(UpstreamExtent { connections, people, grants, streams: self.streams_of_upstream(&known.domain).await? })
    }

    async fn permission(&self, known: &Upstream) -> Result<PermissionSection, Failure> {
        let groups = self.administration.groups().await?.items;
        let members = |name: &str| groups.iter().find(|group| group.name == name).map_or(0, |group| group.members);
        let permission = known.permission.clone();
        let everybody = permission.is_none();
        let (users, named) = permission.map(|whom| (whom.users, whom.groups)).unwrap_or_default();
        Ok(PermissionSection {
            configured: known.standing == Standing::Configured,
            everybody,
            users,
            groups: named.into_iter().map(|name| (name.clone(), members(&name))).collect(),
            known_groups: groups.iter().take(200).map(|group| group.name.clone()).collect(),
        })
    }

    /// Its addresses for clients: the encoded one, and a readable one.
    fn urls_of(&self, known: &Upstream) -> Vec<String> {
        let Ok(authority) = Authority::parse(&known.domain) else { return Vec::new() };
        let upstream = self.upstream(&authority);
        let path = upstream
            .as_ref()
            .and_then(|upstream| upstream.path.clone().or_else(|| self.connections.usual_path(upstream)));
        let address = UpstreamAddress { authority, path: "/".to_owned() };
        let (encoded, path) = (Encoded::new(&address, path.as_deref(), Some(&self.site)), path.as_deref());
        let alias = known.alias.as_deref().and_then(|alias| Label::parse(alias).ok());
        let aliased = alias.map(|alias| Encoded::at(&alias, (&address, path), &self.site));
        aliased.into_iter().chain([encoded]).filter_map(|one| one.url).collect()
    }

    /// Nothing when too many looks are under way already.
    async fn look_at(&self, domain: &str) -> Result<Option<Report>, Failure> {
        let authority = Authority::parse(domain).map_err(|_| Failure::NotFound)?;
        let allow_private = self.upstream(&authority).is_some_and(|upstream| upstream.allow_private);
        let scheme = if allow_private && authority.is_loopback() { "http" } else { "https" };
        let target: Target = format!("{scheme}://{domain}").parse().map_err(|_| Failure::NotFound)?;
        let Some(_seat) = self.doctor.seat() else { return Ok(None) };
        let tools = self.doctor.tools()?.with_private_addresses(allow_private);
        Ok(Some(doctor::examine(&target, &[], &tools).await))
    }
}

fn deeds(known: &Upstream) -> ServerDeeds {
    let decided = matches!(known.standing, Standing::Approved | Standing::Denied);
    ServerDeeds {
        approve: matches!(known.standing, Standing::Awaiting | Standing::Denied),
        deny: matches!(known.standing, Standing::Awaiting | Standing::Approved),
        remove: decided,
        look: known.program.is_none() && matches!(known.standing, Standing::Awaiting | Standing::Denied),
    }
}
