//! Who may use which upstream: the configuration and administrators name people and groups, and every request asks for one
//! person. What lies between is worked out when one of them changes.

use super::Rules;
use crate::config::Permitted;
use crate::error::Fault;
use crate::hostname::Authority;
use crate::ids::UserId;
use crate::store::{Store, UpstreamAccess};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Who may use an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody who may sign in.
    #[default]
    Everybody,
    /// These people. Administrators are no exception: what they may use they say where everybody's permission is said.
    Only(Arc<HashSet<UserId>>),
}

impl Access {
    /// Whether a person may use it: for most upstreams a comparison, for others a look into memory.
    pub fn admits(&self, user: UserId) -> bool {
        match self {
            Access::Everybody => true,
            Access::Only(people) => people.contains(&user),
        }
    }
}

/// What the database says about people, as far as it matters for the use of upstreams.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct People {
    disabled: HashSet<UserId>,
    /// By name in lower case; only those that the configuration names.
    named: HashMap<String, UserId>,
    /// Only of the groups that permissions name.
    members: HashMap<String, HashSet<UserId>>,
    /// What administrators said.
    restricted: HashMap<Authority, UpstreamAccess>,
}

impl People {
    pub(super) async fn load(store: &Store, rules: &Rules) -> Result<Self, Fault> {
        let mut people = Self { disabled: store.disabled_users().await?.into_iter().collect(), ..Self::default() };
        for row in store.restricted_upstreams().await? {
            let Ok(authority) = Authority::parse(&row.authority) else {
                tracing::error!(authority = row.authority, "the database restricts an upstream that is none: ignored");
                continue;
            };
            people.restricted.insert(authority, row);
        }
        let configured = || rules.configured.iter().filter_map(|configured| configured.allowed.as_ref());
        let names: HashSet<&str> = configured().flat_map(|allowed| &allowed.users).map(String::as_str).collect();
        let groups = configured().flat_map(|allowed| &allowed.groups);
        let groups: HashSet<&str> =
            groups.chain(people.restricted.values().flat_map(|row| &row.groups)).map(String::as_str).collect();
        let named = store.users_named(&names.into_iter().collect::<Vec<_>>()).await?;
        let named = named.into_iter().map(|(name, id)| (name.to_ascii_lowercase(), id)).collect();
        let mut members: HashMap<String, HashSet<UserId>> = HashMap::new();
        for (group, user) in store.members_of(&groups.into_iter().collect::<Vec<_>>()).await? {
            members.entry(group).or_default().insert(user);
        }
        Ok(Self { named, members, ..people })
    }

    /// Whether a person may not sign in.
    pub(super) fn is_disabled(&self, user: UserId) -> bool {
        self.disabled.contains(&user)
    }

    /// What the configuration says; without a word of its about that, everybody.
    pub(super) fn allowed(&self, allowed: Option<&Permitted>) -> Access {
        let Some(Permitted { users, groups }) = allowed else { return Access::Everybody };
        let named = users.iter().filter_map(|name| self.named.get(&name.to_ascii_lowercase()).copied());
        self.only(named, groups)
    }

    /// What an administrator said about an upstream that the configuration does not name.
    pub(super) fn access(&self, authority: &Authority) -> Access {
        match self.restricted.get(authority) {
            Some(row) => self.only(row.users.iter().copied(), &row.groups),
            None => Access::Everybody,
        }
    }

    fn only(&self, users: impl Iterator<Item = UserId>, groups: &[String]) -> Access {
        let members = groups.iter().filter_map(|group| self.members.get(group)).flatten().copied();
        Access::Only(Arc::new(users.chain(members).collect()))
    }
}
