//! The upstreams we know: those of the configuration and those that an administrator decided about.

mod access;
mod destinations;
mod health;
mod personal;
mod tools;

pub use crate::config::{Command, Kind, Sharing, Transport};
pub use access::Access;
pub use destinations::{Destination, Destinations};
pub use health::{Failure, Health, HealthTable, Note, Stage, State, Turn, Unavailable};
pub use personal::Personal;

use crate::config::{OAuthSettings, Permitted, Unknown, UpstreamAuth, UpstreamConfig, Upstreams};
use crate::error::Fault;
use crate::hostname::{Authority, Label, Site, Target};
use crate::http::permits;
use crate::ids::UserId;
use crate::mcp::ToolPolicy;
use crate::store::{Decision, Store};
use access::People;
use arc_swap::ArcSwap;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An upstream as the rest of the program sees it.
#[derive(Clone)]
pub struct Upstream {
    /// Which.
    pub authority: Authority,
    /// For people: the configured name, or the authority.
    pub name: String,
    /// A readable label, if it has one.
    pub alias: Option<String>,
    /// What kind of server it is.
    pub kind: Kind,
    /// The path of its MCP endpoint, where known.
    pub path: Option<String>,
    /// How we get in.
    pub auth: Arc<UpstreamAuth>,
    /// Whether private addresses are allowed for it.
    pub allow_private: bool,
    /// Whether it may be used at all.
    pub standing: Standing,
    /// Who may use it.
    pub access: Access,
    /// Which of its tools may be used, by the configuration and by administrators; `None`: all.
    pub tools: Option<ToolPolicy>,
}

/// Whether an upstream may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Configured, approved, or `unknown = "allow"`.
    Allowed,
    /// Well-formed, and an administrator has not decided yet.
    AwaitingApproval,
}

/// All upstreams, in memory. Look-ups never wait.
pub struct Registry {
    site: Site,
    store: Store,
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    /// One reload at a time, so that an older one does not overwrite a newer one.
    reloading: tokio::sync::Mutex<()>,
}

/// What the configuration says.
struct Rules {
    unknown: Unknown,
    allow_private: bool,
    configured: Vec<Configured>,
    /// How upstreams that the configuration does not name are authorized.
    discovered_auth: Arc<UpstreamAuth>,
}

/// An upstream of the configuration, with everybody's access as long as it says nothing else.
struct Configured {
    upstream: Arc<Upstream>,
    allowed: Option<Permitted>,
}

struct Snapshot {
    rules: Arc<Rules>,
    people: Arc<People>,
    by_authority: HashMap<Authority, Arc<Upstream>>,
    by_alias: HashMap<String, Arc<Upstream>>,
    denied: HashSet<Authority>,
    /// What administrators said about tools.
    tools: HashMap<Authority, ToolPolicy>,
}

/// What administrators decided about upstreams.
struct Decisions {
    upstreams: Vec<crate::store::Upstream>,
    tools: HashMap<Authority, ToolPolicy>,
}

impl Decisions {
    async fn load(store: &Store) -> Result<Self, Fault> {
        Ok(Self { upstreams: store.upstreams().await?, tools: tools::load(store).await? })
    }
}

impl Registry {
    /// Loads the decisions from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new(
        policy: &Upstreams,
        configured: Vec<UpstreamConfig>,
        site: Site,
        store: Store,
    ) -> Result<Self, Fault> {
        let rules = Arc::new(Rules::new(policy, configured));
        let people = Arc::new(People::load(&store, &rules).await?);
        let snapshot = Snapshot::of(rules, people, Decisions::load(&store).await?);
        Ok(Self {
            site,
            store,
            snapshot: ArcSwap::from_pointee(snapshot),
            generation: AtomicU64::new(1),
            reloading: tokio::sync::Mutex::new(()),
        })
    }

    /// The upstream of a label; `None` is a 404: an unknown alias, a denied, forbidden or own address. Nothing is looked
    /// up in the DNS. An upstream with an alias is reached by its encoded label too: two hostnames, two issuers.
    pub fn find(&self, label: &Label) -> Option<Arc<Upstream>> {
        match &label.target {
            Target::Encoded(authority) => self.by_authority(authority),
            Target::Alias(alias) => {
                let found = self.snapshot.load().by_alias.get(&**alias).cloned()?;
                self.may_be_reached(&found.authority, found.allow_private).then_some(found)
            }
        }
    }

    /// The same for an authority.
    pub fn by_authority(&self, authority: &Authority) -> Option<Arc<Upstream>> {
        let snapshot = self.snapshot.load();
        let found = match snapshot.by_authority.get(authority) {
            Some(known) => known.clone(),
            None if snapshot.denied.contains(authority) => return None,
            None => tools::limited(Arc::new(snapshot.unknown_upstream(authority)?), &snapshot.tools),
        };
        self.may_be_reached(authority, found.allow_private).then_some(found)
    }

    /// Whether a person may use an upstream now, as far as memory knows. Not so: unknown, not approved, not permitted to
    /// this person, or a person who may not even sign in.
    pub fn may_use(&self, user: UserId, authority: &Authority) -> bool {
        let found = self.by_authority(authority);
        found.is_some_and(|upstream| upstream.standing == Standing::Allowed && upstream.access.admits(user))
            && !self.snapshot.load().people.is_disabled(user)
    }

    /// Whether a person is permitted to use an upstream, approved or not. Somebody who has just been given that, or let in
    /// again, perhaps on another machine, is not turned away: before the answer is no, the database is asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn permits(&self, user: UserId, authority: &Authority) -> Result<bool, Fault> {
        let admits = || {
            self.by_authority(authority).is_some_and(|upstream| upstream.access.admits(user))
                && !self.snapshot.load().people.is_disabled(user)
        };
        Ok(admits() || (self.reload_people().await? && admits()))
    }

    /// Everything configured or approved, sorted by name.
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        let mut all: Vec<_> = self.snapshot.load().by_authority.values().cloned().collect();
        all.sort_by(|a, b| (&a.name, &a.authority).cmp(&(&b.name, &b.authority)));
        all
    }

    /// Those of the configuration, in its order.
    pub fn configured(&self) -> Vec<Arc<Upstream>> {
        self.snapshot.load().rules.configured.iter().map(|configured| configured.upstream.clone()).collect()
    }

    /// What the configuration says about who may use an upstream of its; `None`: everybody.
    pub fn permitted_by_configuration(&self, authority: &str) -> Option<Permitted> {
        let snapshot = self.snapshot.load();
        let mut configured = snapshot.rules.configured.iter();
        configured.find(|one| one.upstream.authority.as_str() == authority)?.allowed.clone()
    }

    /// Which tools may be used of those upstreams of which not all may.
    pub fn limited(&self) -> HashMap<Authority, ToolPolicy> {
        let snapshot = self.snapshot.load();
        let known = snapshot.by_authority.values();
        let known = known.filter_map(|upstream| Some((upstream.authority.clone(), upstream.tools.clone()?)));
        // Also of those that nobody had to approve.
        snapshot.tools.clone().into_iter().chain(known).collect()
    }

    /// What the configuration says about the tools of an upstream of its; `None`: all may be used.
    pub fn tools_by_configuration(&self, authority: &Authority) -> Option<ToolPolicy> {
        let snapshot = self.snapshot.load();
        let mut configured = snapshot.rules.configured.iter();
        configured.find(|one| one.upstream.authority == *authority)?.upstream.tools.clone()
    }

    /// Whether an authority is this gateway itself.
    pub fn is_own(&self, authority: &Authority) -> bool {
        self.site.is_own(authority)
    }

    /// Counts up whenever an answer of [`Registry::find`] may have changed, so that callers can cache.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the decisions again, after [`crate::store::Change::UpstreamsChanged`]. When that fails, the old ones stay.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reload(&self) -> Result<(), Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        self.install(self.snapshot.load().rules.clone()).await
    }

    /// Reads again who may use what, after [`crate::store::Change::PeopleChanged`]; whether that is different from before.
    ///
    /// # Errors
    /// When the store fails: then the old permissions stay.
    pub async fn reload_people(&self) -> Result<bool, Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        let rules = self.snapshot.load().rules.clone();
        if *self.snapshot.load().people == People::load(&self.store, &rules).await? {
            return Ok(false);
        }
        self.install(rules).await?;
        Ok(true)
    }

    /// Takes over another configuration; whether it says anything else than before. When that fails, the old one stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reconfigure(&self, policy: &Upstreams, configured: Vec<UpstreamConfig>) -> Result<bool, Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        let rules = Rules::new(policy, configured);
        if self.snapshot.load().rules.is_same(&rules) {
            return Ok(false);
        }
        self.install(Arc::new(rules)).await?;
        Ok(true)
    }

    async fn install(&self, rules: Arc<Rules>) -> Result<(), Fault> {
        let people = Arc::new(People::load(&self.store, &rules).await?);
        let decided = Decisions::load(&self.store).await?;
        self.snapshot.store(Arc::new(Snapshot::of(rules, people, decided)));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether an authority can be an upstream at all, as far as that is known without asking the DNS.
    fn may_be_reached(&self, authority: &Authority, allow_private: bool) -> bool {
        let address = authority.ipv4().map(IpAddr::V4);
        !self.site.is_own(authority)
            && (allow_private || !authority.is_loopback())
            && address.is_none_or(|address| permits(address, allow_private).is_ok())
    }
}

impl Snapshot {
    /// The configuration stands above decisions: what it names is allowed, and its aliases win. About tools both have a say.
    fn of(rules: Arc<Rules>, people: Arc<People>, Decisions { upstreams: decided, tools }: Decisions) -> Self {
        let (mut by_authority, mut denied) = (HashMap::new(), HashSet::new());
        let configured = rules.configured.iter().map(|configured| configured.resolved(&people));
        let configured: Vec<_> = configured.map(|upstream| tools::limited(upstream, &tools)).collect();
        for upstream in &configured {
            by_authority.insert(upstream.authority.clone(), upstream.clone());
        }
        for row in decided {
            let Ok(authority) = Authority::parse(&row.authority) else {
                tracing::error!(authority = row.authority, "the database holds an upstream that is none: ignored");
                continue;
            };
            if by_authority.contains_key(&authority) || authority.is_program() {
                continue;
            }
            match row.decision {
                Decision::Denied => {
                    denied.insert(authority);
                }
                Decision::Approved => {
                    let access = people.access(&authority);
                    let approved = rules.approved_upstream(&authority, row.name, row.alias);
                    let approved = tools::limited(Arc::new(Upstream { access, ..approved }), &tools);
                    by_authority.insert(authority, approved);
                }
            }
        }
        let aliased = |upstream: &Arc<Upstream>| upstream.alias.clone().map(|alias| (alias, upstream.clone()));
        let mut by_alias: HashMap<_, _> = by_authority.values().filter_map(aliased).collect();
        by_alias.extend(configured.iter().filter_map(aliased));
        Self { rules, people, by_authority, by_alias, denied, tools }
    }

    fn unknown_upstream(&self, authority: &Authority) -> Option<Upstream> {
        let upstream = self.rules.unknown_upstream(authority)?;
        Some(Upstream { access: self.people.access(authority), ..upstream })
    }
}

impl Rules {
    fn new(policy: &Upstreams, configured: Vec<UpstreamConfig>) -> Self {
        Self {
            unknown: policy.unknown,
            allow_private: policy.allow_private,
            configured: configured.into_iter().map(|one| Configured::new(one, policy.allow_private)).collect(),
            discovered_auth: Arc::new(UpstreamAuth::OAuth(Box::<OAuthSettings>::default())),
        }
    }

    fn is_same(&self, other: &Rules) -> bool {
        let same = |(a, b): (&Configured, &Configured)| a.upstream.is_same(&b.upstream) && a.allowed == b.allowed;
        self.unknown == other.unknown
            && self.allow_private == other.allow_private
            && self.configured.len() == other.configured.len()
            && self.configured.iter().zip(&other.configured).all(same)
    }

    fn approved_upstream(&self, authority: &Authority, name: Option<String>, alias: Option<String>) -> Upstream {
        Upstream {
            authority: authority.clone(),
            name: name.unwrap_or_else(|| authority.to_string()),
            alias,
            kind: Kind::default(),
            path: None,
            auth: self.discovered_auth.clone(),
            allow_private: self.allow_private,
            standing: Standing::Allowed,
            access: Access::Everybody,
            tools: None,
        }
    }

    fn unknown_upstream(&self, authority: &Authority) -> Option<Upstream> {
        if authority.is_program() {
            // Programs are named by the configuration alone.
            return None;
        }
        let standing = match self.unknown {
            Unknown::Deny => return None,
            Unknown::Ask => Standing::AwaitingApproval,
            Unknown::Allow => Standing::Allowed,
        };
        Some(Upstream { standing, ..self.approved_upstream(authority, None, None) })
    }
}

impl Upstream {
    fn is_same(&self, other: &Upstream) -> bool {
        let Upstream { authority, name, alias, kind, path, auth, allow_private, standing, access, tools } = self;
        *authority == other.authority
            && *name == other.name
            && *alias == other.alias
            && kind.is_same(&other.kind)
            && *path == other.path
            && auth.is_same(&other.auth)
            && *allow_private == other.allow_private
            && *tools == other.tools
            && *standing == other.standing
            && *access == other.access
    }
}

impl Configured {
    fn new(config: UpstreamConfig, allow_private: bool) -> Self {
        let upstream = Upstream {
            name: config.name.unwrap_or_else(|| match (&config.kind, &config.alias) {
                (Kind::Stdio(_), Some(alias)) => alias.clone(),
                _ => config.authority.to_string(),
            }),
            authority: config.authority,
            alias: config.alias,
            kind: config.kind,
            path: config.path,
            auth: Arc::new(config.auth),
            allow_private: config.allow_private.unwrap_or(allow_private),
            standing: Standing::Allowed,
            access: Access::Everybody,
            tools: config.tools,
        };
        Self { upstream: Arc::new(upstream), allowed: config.allowed }
    }

    fn resolved(&self, people: &People) -> Arc<Upstream> {
        match people.allowed(self.allowed.as_ref()) {
            Access::Everybody => self.upstream.clone(),
            access => Arc::new(Upstream { access, ..Upstream::clone(&self.upstream) }),
        }
    }
}

#[cfg(test)]
mod tests;
