//! `/servers/{authority}/tools`: the tools of an upstream, ticked from its own list.

use super::address_of;
use super::live::{self, Tool, Trouble};
use super::rules::{self, Wish};
use crate::administration::records::{Standing, ToolRules, Upstream};
use crate::dashboard::failure::{Failure, said};
use crate::dashboard::sent::{Deciding, Nothing};
use crate::dashboard::{Dashboard, rows};
use crate::hostname::Authority;
use crate::page::{self, Moment, Place, ToolRow, ToolsPage};
use crate::session::SignedIn;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// So many tools on one page.
const SHOWN: usize = 100;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PartQuery {
    from: usize,
}

/// `GET /servers/{authority}/tools`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path(authority): Path<String>,
    Query(part): Query<PartQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::Servers.address()).await?;
    let known = dashboard.administration.upstream(&authority).await?;
    // A link elsewhere must not make the gateway ask an upstream.
    let relations = headers.get_all("sec-fetch-site");
    let by_hand = relations.iter().all(|relation| relation == "same-origin" || relation == "none");
    let is_new = dashboard.store.tool_list(&known.domain).await?.is_none();
    let trouble = if by_hand && is_new { dashboard.read(&person, &known).await?.err() } else { None };
    dashboard.tools_page(&person, &known, Told { from: part.from, trouble, ..Told::default() }).await
}

/// `POST /servers/{authority}/tools/read`: asks the upstream again.
pub(super) async fn read(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<Nothing>,
) -> Result<Response, Failure> {
    let known = dashboard.administration.upstream(&authority).await?;
    match dashboard.read(&sent.person, &known).await? {
        Ok(count) => {
            let notice = format!("It lists {}.", page::counted(i64::try_from(count).unwrap_or(i64::MAX), "tool"));
            Ok(dashboard.done(&sent.person, &tools_address(&known.domain), &notice))
        }
        Err(trouble) => {
            dashboard.tools_page(&sent.person, &known, Told { trouble: Some(trouble), ..Told::default() }).await
        }
    }
}

/// `POST /servers/{authority}/tools`
pub(super) async fn save(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let all =
        |name: &'static str| sent.form.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str());
    let known = dashboard.administration.upstream(&authority).await?;
    let set = |name: &'static str| all(name).map(str::to_owned).collect();
    let lines = |name: &'static str| -> Vec<String> {
        let lines = all(name).flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let wish = Wish {
        only_ticked: all("later").any(|value| value == "refused"),
        shown: set("shown"),
        ticked: set("tool"),
        allowed: lines("allowed"),
        denied: lines("denied"),
    };
    let list = dashboard.store.tool_list(&known.domain).await?;
    let tools = list.as_ref().map(live::remembered).unwrap_or_default();
    let rules = rules::of_wish(&wish, &tools, &known.tools.clone().unwrap_or_default());
    match dashboard.administration.permit_tools(&sent.actor(), &known.domain, rules.clone()).await {
        Ok(_) => {
            let limited = Some(&rules).filter(|rules| **rules != ToolRules::default());
            let notice = format!("Saved. {}", rules::in_words(limited, list.is_some().then_some(&*tools)));
            Ok(dashboard.done(&sent.person, &tools_address(&known.domain), &notice))
        }
        Err(refused) => {
            let (status, why) = said(refused)?;
            dashboard
                .tools_page(
                    &sent.person,
                    &known,
                    Told { status, error: Some(why), typed: Some(wish), ..Told::default() },
                )
                .await
        }
    }
}

fn tools_address(authority: &str) -> String {
    format!("{}/tools", address_of(authority))
}

/// What the page tells besides the tools.
struct Told {
    status: StatusCode,
    error: Option<String>,
    trouble: Option<Trouble>,
    from: usize,
    /// What was sent and not taken.
    typed: Option<Wish>,
}

impl Default for Told {
    fn default() -> Self {
        Self { status: StatusCode::OK, error: None, trouble: None, from: 0, typed: None }
    }
}

impl Dashboard {
    /// Asks an upstream that may be asked at all.
    async fn read(&self, person: &SignedIn, known: &Upstream) -> Result<Result<usize, Trouble>, Failure> {
        let usable = matches!(known.standing, Standing::Configured | Standing::Approved);
        let authority = Authority::parse(&known.domain).map_err(|_| Failure::NotFound)?;
        let upstream = self.upstream(&authority).filter(|_| usable);
        let Some(upstream) = upstream else {
            return Ok(Err(("It is not approved, so it is not asked for its tools.".to_owned(), None)));
        };
        if !self.registry.permits(person.user.id, &authority).await? {
            let why = "The list is read with your own account, and you may not use this server.";
            return Ok(Err((why.to_owned(), None)));
        }
        self.limits.check_user_upstream(person.user.id, &authority)?;
        self.read_tools(&person.user, &upstream).await
    }

    async fn tools_page(&self, person: &SignedIn, known: &Upstream, told: Told) -> Result<Response, Failure> {
        let list = self.store.tool_list(&known.domain).await?;
        let tools = list.as_ref().map(live::remembered).unwrap_or_default();
        let rules = known.tools.clone().unwrap_or_default();
        let authority = Authority::parse(&known.domain).map_err(|_| Failure::NotFound)?;
        let configured = self.registry.tools_by_configuration(&authority);
        let row = |tool: &Tool| {
            let mut tick = rules::tick(tool, &rules, configured.as_ref());
            if let Some(typed) = told.typed.as_ref().filter(|typed| typed.shown.contains(&tool.name)) {
                tick.set = typed.ticked.contains(&tool.name);
            }
            ToolRow {
                name: tool.name.clone(),
                title: tool.title.clone(),
                description: tool.description.clone(),
                hints: hints(tool),
                ticked: tick.set,
                fixed: tick.fixed,
                why: tick.why,
            }
        };
        let beside = |typed: Option<&Vec<String>>, kept: &[String]| {
            typed.cloned().unwrap_or_else(|| rules::beside_ticks(kept, &tools)).join("\n")
        };
        let typed = told.typed.as_ref();
        let name = known.name.clone().unwrap_or_else(|| known.domain.clone());
        Ok(page::tools(&ToolsPage {
            status: told.status,
            account: rows::account(person),
            error: told.error.as_deref(),
            name: &name,
            address: &address_of(&known.domain),
            read: list.as_ref().map(|list| Moment::new(list.read_at, self.clock.now())),
            trouble: told.trouble,
            total: tools.len(),
            parts: parts(&tools_address(&known.domain), told.from, tools.len()),
            tools: tools.iter().skip(told.from).take(SHOWN).map(row).collect(),
            only_ticked: typed.map_or(rules.allow.is_some(), |typed| typed.only_ticked),
            allowed: beside(typed.map(|typed| &typed.allowed), rules.allow.as_deref().unwrap_or_default()),
            denied: beside(typed.map(|typed| &typed.denied), &rules.deny),
            configured: configured.map(|configured| {
                let refused = tools.iter().filter(|tool| !configured.permits(&tool.name)).count();
                format!("The configuration limits the tools too: it refuses {refused} of these.")
            }),
        }))
    }
}

fn hints(tool: &Tool) -> Vec<&'static str> {
    let hints = [(tool.reads_only, "says it only reads"), (tool.destroys, "says it can destroy")];
    hints.into_iter().filter(|(is_so, _)| *is_so).map(|(_, hint)| hint).collect()
}

/// Where the parts before and after are.
fn parts(address: &str, from: usize, total: usize) -> (Option<String>, Option<String>) {
    let before = (from > 0).then(|| format!("{address}?from={}", from.saturating_sub(SHOWN)));
    let after = (from.saturating_add(SHOWN) < total).then(|| format!("{address}?from={}", from + SHOWN));
    (before, after)
}
