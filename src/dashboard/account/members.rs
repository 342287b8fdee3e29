//! What a person sees at the unified endpoint.

use super::ACCOUNT;
use crate::connect::{ConnectionKey, page_address};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::Sent;
use crate::dashboard::start::address::start_address;
use crate::hostname::{Account, Authority};
use crate::page::{EndpointSection, MemberRow};
use crate::session::SignedIn;
use crate::store::{Connection, ConnectionState, MemberName};
use crate::upstream::{Kind, Upstream};
use axum::extract::State;
use axum::response::Response;
use std::collections::BTreeSet;
use std::sync::Arc;

/// `POST /account/members`: `shown` names what is to be seen, of everything that the page had `listed`.
pub(in crate::dashboard) async fn select(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let all =
        |name: &'static str| sent.form.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str());
    let (shown, listed) = (all("shown").collect::<BTreeSet<_>>(), all("listed").collect::<BTreeSet<_>>());
    let actor = sent.actor();
    for member in dashboard.members(&sent.person).await? {
        let value = member.value();
        // What came after the page was made stays as it is.
        if listed.contains(value.as_str()) {
            let visible = shown.contains(value.as_str());
            dashboard.administration.select(&actor, &sent.person.user, &member.key, visible).await?;
        }
    }
    Ok(see_other(ACCOUNT))
}

/// Something that may appear at the unified endpoint.
struct Member {
    upstream: Arc<Upstream>,
    key: ConnectionKey,
    connection: Option<Connection>,
}

impl Dashboard {
    /// What the account page says about it; nothing where there is none.
    pub(super) async fn endpoint(&self, person: &SignedIn) -> Result<Option<EndpointSection>, Failure> {
        if !self.unified {
            return Ok(None);
        }
        let hidden = self.store.hidden_members(person.user.id).await?;
        let mut members = Vec::new();
        for member in self.members(person).await? {
            let shown = !hidden.contains(&member.name());
            let needed = self.connections.needs_consent(&member.key).await?;
            members.push(member.row(shown, needed));
        }
        Ok(Some(EndpointSection { url: format!("{}/mcp", self.site.root_origin()), members }))
    }

    /// Every upstream that the person may use, with the plain account, and every other account that the person has connected.
    async fn members(&self, person: &SignedIn) -> Result<Vec<Member>, Failure> {
        let user = person.user.id;
        let mut connections = self.store.connections_of(user).await?;
        let mut members = Vec::new();
        for upstream in self.registry.all() {
            let authority = &upstream.authority;
            let (mut here, elsewhere): (Vec<_>, Vec<_>) =
                connections.into_iter().partition(|connection| connection.authority == authority.as_str());
            connections = elsewhere;
            if !self.registry.may_use(user, authority) {
                continue;
            }
            if here.iter().all(|connection| !connection.account.is_empty()) {
                members.push(Member::new(&upstream, user, None, None));
            }
            here.sort_by(|one, other| one.account.cmp(&other.account));
            members.extend(here.into_iter().filter_map(|connection| Member::connected(&upstream, connection)));
        }
        // Those that nobody had to approve.
        for connection in connections {
            let Ok(authority) = Authority::parse(&connection.authority) else { continue };
            if let Some(upstream) =
                self.registry.by_authority(&authority).filter(|_| self.registry.may_use(user, &authority))
            {
                members.extend(Member::connected(&upstream, connection));
            }
        }
        Ok(members)
    }
}

impl Member {
    fn new(
        upstream: &Arc<Upstream>,
        user: crate::ids::UserId,
        account: Option<Account>,
        connection: Option<Connection>,
    ) -> Self {
        let key = ConnectionKey::upstream(user, upstream.authority.clone(), account);
        Self { upstream: upstream.clone(), key, connection }
    }

    /// `None` for an account that we never wrote.
    fn connected(upstream: &Arc<Upstream>, connection: Connection) -> Option<Self> {
        let account = Some(connection.account.as_str()).filter(|account| !account.is_empty());
        let account = account.map(Account::parse).transpose().ok()?;
        Some(Self::new(upstream, connection.user, account, Some(connection)))
    }

    fn name(&self) -> MemberName {
        let account = self.key.account.as_ref().map_or("", Account::as_str).to_owned();
        MemberName { authority: self.upstream.authority.to_string(), account }
    }

    /// No authority has a space.
    fn value(&self) -> String {
        let MemberName { authority, account } = self.name();
        format!("{authority} {account}")
    }

    /// In words. `needed` says that the person has to do something before it works.
    fn row(&self, shown: bool, needed: bool) -> MemberRow {
        let personal = self.upstream.personal().is_some();
        let had = self.connection.as_ref().is_some_and(|row| row.state != ConnectionState::NeedsConsent);
        let (tone, state) = match (needed, personal, &self.connection) {
            (false, _, Some(row)) if row.state != ConnectionState::Open => ("good", "Connected"),
            (false, ..) => ("quiet", "Needs no sign-in"),
            (true, true, Some(_)) if !had => ("bad", "Needs another value from you"),
            (true, true, _) => ("quiet", "Needs a value from you"),
            (true, false, Some(_)) => ("bad", "Needs your consent again"),
            (true, false, None) => ("quiet", "Not connected"),
        };
        let MemberName { authority, account } = self.name();
        let connect = match (needed, personal) {
            (true, true) => Some(("Enter it", page_address(&self.key, ACCOUNT))),
            (false, true) => Some(("Change", page_address(&self.key, ACCOUNT))),
            (true, false) => Some(("Connect", start_address(&authority, &account, false))),
            (false, false) => None,
        };
        let given = self.connection.as_ref().and_then(|row| row.personal.as_deref()).unwrap_or_default();
        MemberRow {
            value: self.value(),
            name: self.upstream.name.clone(),
            domain: matches!(self.upstream.kind, Kind::Http { .. }).then(|| authority.clone()),
            account,
            shown,
            tone,
            state,
            given: given.split_ascii_whitespace().map(str::to_owned).collect(),
            connect,
        }
    }
}
