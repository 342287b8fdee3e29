//! Which upstreams a caller sees.

use super::Aggregate;
use super::naming::Naming;
use super::prefix::{Prefix, Prefixes};
use super::rewrite::{Inward, Outward};
use super::tasks::Tasks;
use crate::config::{Prefixes as When, UpstreamAuth};
use crate::connect::{ConnectionKey, Target};
use crate::error::Fault;
use crate::hostname::{Account, Authority};
use crate::ids::UserId;
use crate::store::{Connection, MemberName};
use crate::unified::{Caller, View};
use crate::upstream::{Kind, Sharing, Standing, Upstream};
use moka::sync::Cache;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long it is remembered what somebody sees; changes are told earlier.
const REMEMBERED: Duration = Duration::from_secs(60);
const MOST_PEOPLE: u64 = 10_000;

/// One upstream, and which account there, as a caller sees it.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) prefix: Prefix,
    pub(super) naming: Naming,
    pub(super) tasks: Tasks,
    pub(super) upstream: Arc<Upstream>,
    pub(super) key: ConnectionKey,
    /// Whether it can be used now; otherwise the person has to consent first.
    pub(super) ready: bool,
}

/// What a caller sees.
pub(super) struct Membership {
    /// By prefix.
    pub(super) members: Vec<Arc<Member>>,
    /// What the person may use and has not connected, by prefix.
    pub(super) connectable: Vec<Arc<Member>>,
    /// Of the registry.
    generation: u64,
    when: When,
}

/// What people see, remembered.
pub(super) struct Memberships {
    known: Cache<UserId, Arc<Membership>>,
    /// Counts what was forgotten: what was read before that is not remembered.
    epoch: AtomicU64,
}

impl Memberships {
    pub(super) fn new() -> Self {
        let known = Cache::builder().max_capacity(MOST_PEOPLE).time_to_live(REMEMBERED).build();
        Self { known, epoch: AtomicU64::new(0) }
    }

    pub(super) fn forget(&self, user: UserId) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate(&user);
    }
}

impl Member {
    /// What people call it.
    pub(super) fn name(&self) -> String {
        match &self.key.account {
            Some(account) => format!("{} ({})", self.upstream.name, account.as_str()),
            None => self.upstream.name.clone(),
        }
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.upstream.authority
    }

    /// Puts what it says into words of the caller's.
    pub(super) fn outward(&self) -> Outward<'_> {
        Outward { naming: &self.naming, tasks: &self.tasks }
    }

    /// Puts what the caller says into its own words.
    pub(super) fn inward(&self) -> Inward<'_> {
        Inward { naming: &self.naming, tasks: &self.tasks }
    }

    /// Whether it takes everybody for one and the same.
    pub(super) fn is_shared(&self) -> bool {
        match (&self.upstream.kind, &*self.upstream.auth) {
            (Kind::Stdio(program), _) => program.processes == Sharing::Everybody,
            (Kind::Http { .. }, UpstreamAuth::None | UpstreamAuth::Header { .. }) => true,
            (Kind::Http { .. }, UpstreamAuth::OAuth(_) | UpstreamAuth::Personal(_)) => false,
        }
    }
}

impl Membership {
    /// Whether there is one upstream under its own names.
    pub(super) fn plain(&self) -> Option<&Arc<Member>> {
        self.members.first().filter(|first| first.naming.is_plain())
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(|member| member.ready)
    }

    /// What the person could connect, or has to connect again.
    pub(super) fn unconnected(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(|member| !member.ready).chain(&self.connectable)
    }

    pub(super) fn by_prefix(&self, prefix: &str) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.prefix.as_str() == prefix)
    }

    /// Whether a caller would see any difference.
    pub(super) fn looks_like(&self, other: &Membership) -> bool {
        let same = |a: &[Arc<Member>], b: &[Arc<Member>]| {
            let face = |member: &Arc<Member>| (member.naming.clone(), member.key.clone(), member.ready);
            a.iter().map(face).eq(b.iter().map(face))
        };
        // Which tools an administrator allows is part of the generation.
        self.generation == other.generation
            && same(&self.members, &other.members)
            && same(&self.connectable, &other.connectable)
    }
}

impl Aggregate {
    /// What a caller sees, at this moment.
    pub(super) async fn members(&self, caller: &Caller) -> Result<Arc<Membership>, Fault> {
        match &caller.view {
            View::One { upstream, account } => self.one(caller.user, upstream, account.as_ref()).await,
            View::Everything => {
                let when = self.settings.load().unified.prefix;
                let generation = self.parts.registry.generation();
                let good = |known: &Arc<Membership>| known.generation == generation && known.when == when;
                if let Some(known) = self.memberships.known.get(&caller.user).filter(good) {
                    return Ok(known);
                }
                let epoch = self.memberships.epoch.load(Ordering::Acquire);
                let read = Arc::new(self.everything(caller.user, when, generation).await?);
                if epoch == self.memberships.epoch.load(Ordering::Acquire) {
                    self.memberships.known.insert(caller.user, read.clone());
                }
                Ok(read)
            }
        }
    }

    async fn one(
        &self,
        user: UserId,
        upstream: &Arc<Upstream>,
        account: Option<&Account>,
    ) -> Result<Arc<Membership>, Fault> {
        let generation = self.parts.registry.generation();
        // As it is configured now, if it still is.
        let upstream = self.parts.registry.by_authority(&upstream.authority).unwrap_or_else(|| upstream.clone());
        let key = ConnectionKey::upstream(user, upstream.authority.clone(), account.cloned());
        let ready = !self.parts.connections.needs_consent(&key).await?;
        let prefix = Prefixes::of(std::iter::once(&*upstream)).prefix(&upstream.authority, account);
        let tasks = Tasks::of(&self.parts.vault, &key);
        let member = Arc::new(Member { prefix, naming: Naming::Plain, tasks, upstream, key, ready });
        let (members, connectable) = (vec![member], Vec::new());
        Ok(Arc::new(Membership { members, connectable, generation, when: When::WhenSeveral }))
    }

    async fn everything(&self, user: UserId, when: When, generation: u64) -> Result<Membership, Fault> {
        let registry = &self.parts.registry;
        let rows = self.parts.store.connections_of(user).await?;
        let hidden: HashSet<MemberName> = self.parts.store.hidden_members(user).await?.into_iter().collect();
        let mut upstreams = registry.all();
        // What everybody may connect without anybody having named it (`upstreams.unknown = "allow"`).
        for row in &rows {
            let Some(Target::Upstream(authority)) = Target::parse(&row.authority) else { continue };
            if !upstreams.iter().any(|upstream| upstream.authority == authority) {
                upstreams.extend(registry.by_authority(&authority));
            }
        }
        let prefixes = Prefixes::of(upstreams.iter().map(|upstream| &**upstream));
        let (mut members, mut connectable) = (Vec::new(), Vec::new());
        for upstream in &upstreams {
            if upstream.standing != Standing::Allowed || !registry.may_use(user, &upstream.authority) {
                continue;
            }
            let seat = |account: Option<Account>, ready: bool| {
                let prefix = prefixes.prefix(&upstream.authority, account.as_ref());
                let key = ConnectionKey::upstream(user, upstream.authority.clone(), account);
                let tasks = Tasks::of(&self.parts.vault, &key);
                Member { prefix, naming: Naming::Plain, tasks, upstream: upstream.clone(), key, ready }
            };
            let accounts = accounts(upstream, &rows);
            if accounts.is_empty() {
                connectable.push(seat(None, false));
            }
            for account in accounts {
                let mut member = seat(account, true);
                member.ready = !self.parts.connections.needs_consent(&member.key).await?;
                members.push(member);
            }
        }
        let shown = |member: &Member| !hidden.contains(&name_of(&member.key));
        members.retain(shown);
        connectable.retain(shown);
        if members.len() > 1 || when == When::Always {
            members.iter_mut().for_each(|member| member.naming = Naming::Prefixed(member.prefix.clone()));
        }
        members.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        connectable.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let shared = |list: Vec<Member>| list.into_iter().map(Arc::new).collect();
        Ok(Membership { members: shared(members), connectable: shared(connectable), generation, when })
    }
}

/// The accounts that a person has at an upstream; what needs nobody's authorization has everybody's one.
fn accounts(upstream: &Upstream, rows: &[Connection]) -> Vec<Option<Account>> {
    if upstream.personal().is_none() && !matches!(*upstream.auth, UpstreamAuth::OAuth(_)) {
        return vec![None];
    }
    let of_this = rows.iter().filter(|row| row.authority == upstream.authority.as_str());
    of_this
        .filter_map(|row| match row.account.as_str() {
            "" => Some(None),
            account => Account::parse(account).ok().map(Some),
        })
        .collect()
}

fn name_of(key: &ConnectionKey) -> MemberName {
    MemberName { authority: key.target.as_str().to_owned(), account: key.account_text().to_owned() }
}
