//! What was granted and not taken away: the model. It knows nothing of databases, caches, journals and nodes.

use super::events::{By, Change, PEOPLE, UPSTREAMS};
use crate::clock::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long things live, as the configuration of the nodes says.
pub(super) const CODE_LIFE: Duration = Duration::from_secs(60);
pub(super) const ACCESS_LIFE: Duration = Duration::from_secs(24 * 3600);
pub(super) const REFRESH_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
pub(super) const GRACE: Duration = Duration::from_secs(60);
pub(super) const UNUSED_CLIENT_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A session of this age may or may not have ended.
const SESSION_IS_SURE_FOR: Duration = Duration::from_secs(24 * 3600);
/// For so long a code that was used is known, so that its replay is noticed.
const CODE_KEPT: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) people: [Person; PEOPLE],
    pub(super) upstreams: [Upstream; UPSTREAMS],
    pub(super) clients: Vec<Client>,
    pub(super) grants: Vec<Grant>,
    pub(super) codes: Vec<Code>,
    pub(super) access: Vec<Access>,
    pub(super) refresh: Vec<Refresh>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) disabled: bool,
    pub(super) removed: bool,
    /// Of the group.
    pub(super) is_member: bool,
    /// Since when the last browser is signed in; none when it was signed out.
    pub(super) session: Option<Timestamp>,
    /// The name that the upstream gave to the authorization.
    pub(super) connections: [Option<String>; UPSTREAMS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Standing {
    #[default]
    Approved,
    Denied,
    Undecided,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Upstream {
    pub(super) standing: Standing,
    /// `None`: everybody.
    only: Option<Only>,
    pub(super) tool_denied: bool,
}

/// Who may use an upstream.
#[derive(Clone, Debug)]
struct Only {
    people: BTreeSet<usize>,
    /// Its members too.
    group: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) upstream: usize,
    pub(super) registered_at: Timestamp,
    pub(super) used: bool,
    pub(super) gone: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) person: usize,
    pub(super) client: usize,
    pub(super) upstream: usize,
    pub(super) ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) grant: usize,
    issued_at: Timestamp,
    used: bool,
    /// Nobody remembers it.
    forgotten: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) text: String,
    pub(super) grant: usize,
    pub(super) issued_at: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Refresh {
    pub(super) text: String,
    pub(super) grant: usize,
    issued_at: Timestamp,
    /// The position of the one that it was exchanged for, and when.
    successor: Option<(usize, Timestamp)>,
}

/// What a use of something leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    /// New tokens.
    Tokens,
    /// The tokens that were given for it before: this refresh token.
    Again(usize),
    Refused,
    /// Refused, and the grant ends: two parties have it.
    Fatal,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It may go on as this person.
    Admitted(usize),
    Refused,
}

impl Model {
    /// Whether the grant of a token is in force; a model from before it was given knows of no end.
    pub(super) fn is_in_force(&self, token: &Access) -> bool {
        self.grants.get(token.grant).is_none_or(|grant| !grant.ended)
    }

    /// Whether a person may use an upstream, connected or not.
    pub(super) fn may_use(&self, person: usize, at: usize) -> bool {
        let upstream = &self.upstreams[at];
        let is_member = self.people[person].is_member;
        let is_admitted = |only: &Only| only.people.contains(&person) || only.group && is_member;
        upstream.standing == Standing::Approved && upstream.only.as_ref().is_none_or(is_admitted)
    }

    /// Whether the flow of a client leads to a code; `None` when the session may have expired.
    pub(super) fn authorizes(&self, person: usize, client: usize, now: Timestamp) -> Option<bool> {
        let (client, someone) = (&self.clients[client], &self.people[person]);
        let Some(since) = someone.session.filter(|_| !someone.removed && !someone.disabled) else { return Some(false) };
        let may =
            !client.gone && self.may_use(person, client.upstream) && someone.connections[client.upstream].is_some();
        if may && now.since(since) > SESSION_IS_SURE_FOR { None } else { Some(may) }
    }

    pub(super) fn exchanges(&self, code: usize, by: By, now: Timestamp) -> Expected {
        let code = &self.codes[code];
        let known = !code.forgotten && self.is_living(code.grant) && by != By::AnotherClient;
        match (known, code.used) {
            (false, _) => Expected::Refused,
            (true, true) => Expected::Fatal,
            (true, false) if now.since(code.issued_at) < CODE_LIFE && by == By::ItsClient => Expected::Tokens,
            (true, false) => Expected::Refused,
        }
    }

    pub(super) fn refreshes(&self, token: usize, now: Timestamp) -> Expected {
        let token = &self.refresh[token];
        let grant = &self.grants[token.grant];
        let connected = self.people[grant.person].connections[grant.upstream].is_some();
        if !self.is_living(token.grant) || now.since(token.issued_at) >= REFRESH_LIFE || !connected {
            return Expected::Refused;
        }
        let Some((successor, rotated_at)) = token.successor else { return Expected::Tokens };
        let was_used = self.refresh[successor].successor.is_some();
        if now.since(rotated_at) > GRACE && was_used { Expected::Fatal } else { Expected::Again(successor) }
    }

    /// Whether tokens may be issued under a grant, connected or not.
    fn is_living(&self, grant: usize) -> bool {
        let grant = &self.grants[grant];
        !grant.ended && !self.clients[grant.client].gone && self.may_use(grant.person, grant.upstream)
    }

    pub(super) fn granted(&mut self, person: usize, client: usize, code: String, now: Timestamp) {
        let grant = self.grants.len();
        self.grants.push(Grant { person, client, upstream: self.clients[client].upstream, ended: false });
        self.codes.push(Code { text: code, grant, issued_at: now, used: false, forgotten: false });
    }

    /// A grant from before the order begins, whose code was exchanged.
    pub(super) fn granted_before(&mut self, person: usize, client: usize) -> usize {
        self.grants.push(Grant { person, client, upstream: self.clients[client].upstream, ended: false });
        self.grants.len() - 1
    }

    pub(super) fn exchanged(&mut self, code: usize) {
        self.codes[code].used = true;
    }

    /// Tokens were issued, for a code or for this refresh token.
    pub(super) fn issued(
        &mut self,
        grant: usize,
        (access, refresh): (String, String),
        of: Option<usize>,
        now: Timestamp,
    ) {
        self.clients[self.grants[grant].client].used = true;
        self.access.push(Access { text: access, grant, issued_at: now });
        if let Some(old) = of {
            self.refresh[old].successor = Some((self.refresh.len(), now));
        }
        self.refresh.push(Refresh { text: refresh, grant, issued_at: now, successor: None });
    }

    /// The same refresh token was given again, with another access token.
    pub(super) fn issued_again(&mut self, grant: usize, access: String, now: Timestamp) {
        self.access.push(Access { text: access, grant, issued_at: now });
    }

    pub(super) fn ended(&mut self, grant: usize) {
        self.grants[grant].ended = true;
    }

    fn ended_where(&mut self, gone: impl Fn(&Grant) -> bool) {
        self.grants.iter_mut().filter(|grant| gone(grant)).for_each(|grant| grant.ended = true);
    }

    /// What has expired was removed.
    pub(super) fn swept(&mut self, now: Timestamp) {
        for code in &mut self.codes {
            code.forgotten |= now.since(code.issued_at) > CODE_LIFE + CODE_KEPT;
        }
        for client in &mut self.clients {
            client.gone |= !client.used && now.since(client.registered_at) > UNUSED_CLIENT_LIFE;
        }
    }

    /// Takes a change over; `pick` says which one of so many an index means.
    pub(super) fn changed(&mut self, change: &Change) {
        match *change {
            Change::RevokeGrant(index) | Change::Withdraw(index) => {
                self.end_picked(index, |model| model.grants.len(), |_, at| at)
            }
            Change::RevokeRefreshToken(index) => {
                self.end_picked(index, |model| model.refresh.len(), |model, at| model.refresh[at].grant)
            }
            // Whoever shows a token that is worth nothing revokes nothing: see `Play`.
            Change::RevokeAccessToken(_) | Change::RevokeForeign(_) => {}
            Change::RemoveClient(index) => {
                let at = index.index(self.clients.len());
                self.clients[at].gone = true;
                self.ended_where(|grant| grant.client == at);
            }
            Change::Disconnect { person, upstream } => self.people[person].connections[upstream] = None,
            Change::Disable(person) => {
                if !self.people[person].removed {
                    (self.people[person].disabled, self.people[person].session) = (true, None);
                    self.ended_where(|grant| grant.person == person);
                }
            }
            Change::Enable(person) => self.people[person].disabled = false,
            Change::RemovePerson(person) => {
                self.people[person] = Person { removed: true, ..Person::default() };
                self.ended_where(|grant| grant.person == person);
            }
            Change::SignOutEverywhere { person, applications } => {
                self.people[person].session = None;
                self.ended_where(|grant| applications && grant.person == person);
            }
            Change::Approve(upstream) => self.upstreams[upstream].standing = Standing::Approved,
            Change::Deny(upstream) => self.upstreams[upstream].standing = Standing::Denied,
            Change::Undecide(upstream) => self.upstreams[upstream].standing = Standing::Undecided,
            Change::Join(person) => self.people[person].is_member = !self.people[person].removed,
            Change::Leave(person) => self.people[person].is_member = false,
            Change::Restrict { upstream, ref to, group } => {
                self.upstreams[upstream].only = Some(Only { people: to.iter().copied().collect(), group })
            }
            Change::Unrestrict(upstream) => self.upstreams[upstream].only = None,
            Change::Tool { upstream, denied } => self.upstreams[upstream].tool_denied = denied,
        }
    }

    fn end_picked(
        &mut self,
        index: proptest::sample::Index,
        count: impl Fn(&Self) -> usize,
        grant: impl Fn(&Self, usize) -> usize,
    ) {
        if count(self) > 0 {
            let grant = grant(self, index.index(count(self)));
            self.ended(grant);
        }
    }
}
