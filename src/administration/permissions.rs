//! Who may use which upstream, and who belongs to which group.

use super::records::{Group, Permission, Standing, ToolRules, Upstream, User};
use super::upstreams::{label_of, parse};
use super::{Actor, Administration, Page, Refused};
use crate::hostname::Authority;
use crate::ids::UserId;
use crate::store::UpstreamAccess;
use std::collections::HashMap;

/// What to change about who may use an upstream.
#[derive(Clone, Debug)]
pub enum Change {
    /// These may. From the first of them on, nobody else may.
    Allow(Permission),
    /// These may not any more, unless somebody is in a group that may.
    Deny(Permission),
    /// These may, and nobody else.
    Only(Permission),
    /// Everybody may.
    Everybody,
}

impl Administration {
    /// Puts a person into a group.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] for a name that no group can have.
    pub async fn join(&self, actor: &Actor, id: &str, group: &str) -> Result<User, Refused> {
        let user = self.person(id).await?;
        if self.revocations.join(&user, group).await? {
            self.record(actor, "group.joined", &format!("{} in {group}", user.name));
        }
        self.user(id).await
    }

    /// Takes a person out of a group that an administrator put the person into.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] when no administrator did.
    pub async fn leave(&self, actor: &Actor, id: &str, group: &str) -> Result<User, Refused> {
        let user = self.person(id).await?;
        self.revocations.leave(&user, group).await?;
        self.record(actor, "group.left", &format!("{} in {group}", user.name));
        self.user(id).await
    }

    /// All groups that have members, by name.
    ///
    /// # Errors
    /// [`Refused::Failed`].
    pub async fn groups(&self) -> Result<Page<Group>, Refused> {
        let groups = self.store.groups().await?.into_iter();
        Ok(Page::whole(groups.map(|(name, members)| Group { name, members }).collect()))
    }

    /// Says who may use an upstream that the configuration does not name, decided about or not. What others have open there
    /// ends.
    ///
    /// # Errors
    /// [`Refused::NotFound`] for people that there are not; [`Refused::Invalid`], [`Refused::Conflict`] for upstreams that
    /// nobody can decide about.
    pub async fn permit(&self, actor: &Actor, domain: &str, change: Change) -> Result<Upstream, Refused> {
        let authority = parse(domain)?;
        self.must_be_foreign(&authority)?;
        match change {
            Change::Everybody => {
                self.revocations.unrestrict(authority.as_str()).await?;
            }
            Change::Allow(whom) => self.allow(&authority, whom).await?,
            Change::Deny(whom) => self.deny(&authority, whom).await?,
            Change::Only(whom) => self.only(&authority, whom).await?,
        }
        let mut one = [undecided(&authority)];
        self.add_permissions(&mut one).await?;
        let [one] = one;
        let whom = match &one.permission {
            None => "everybody".to_owned(),
            Some(Permission { users, groups }) => format!("users {users:?} and groups {groups:?}"),
        };
        self.record(actor, "upstream.permitted", &format!("{authority} to {whom}"));
        Ok(one)
    }

    async fn allow(&self, authority: &Authority, whom: Permission) -> Result<(), Refused> {
        if whom.users.is_empty() && whom.groups.is_empty() {
            return Err(Refused::Invalid("say whom, with --user NAME or --group GROUP".to_owned()));
        }
        let nobody = || UpstreamAccess { authority: authority.to_string(), users: Vec::new(), groups: Vec::new() };
        let mut access = self.store.upstream_access(authority.as_str()).await?.unwrap_or_else(nobody);
        for user in self.people(&whom.users).await? {
            if !access.users.contains(&user) {
                access.users.push(user);
            }
        }
        for group in whom.groups {
            crate::revocation::check_group(&group)?;
            if !access.groups.contains(&group) {
                access.groups.push(group);
            }
        }
        Ok(self.revocations.restrict(&access).await?)
    }

    async fn only(&self, authority: &Authority, whom: Permission) -> Result<(), Refused> {
        whom.groups.iter().try_for_each(|group| crate::revocation::check_group(group))?;
        let users = self.people(&whom.users).await?;
        let access = UpstreamAccess { authority: authority.to_string(), users, groups: whom.groups };
        Ok(self.revocations.restrict(&access).await?)
    }

    async fn deny(&self, authority: &Authority, whom: Permission) -> Result<(), Refused> {
        let Some(mut access) = self.store.upstream_access(authority.as_str()).await? else {
            let why = "say who may with `portcullis upstream allow`, then nobody else may";
            return Err(Refused::Invalid(format!("everybody may use {authority}: {why}")));
        };
        let users = self.people(&whom.users).await?;
        access.users.retain(|user| !users.contains(user));
        access.groups.retain(|group| !whom.groups.contains(group));
        Ok(self.revocations.restrict(&access).await?)
    }

    async fn people(&self, names: &[String]) -> Result<Vec<UserId>, Refused> {
        let mut people = Vec::with_capacity(names.len());
        for name in names {
            let missing = || Refused::NotFound(format!("there is no user {name}: `portcullis user list` shows all"));
            people.push(self.store.user_by_name(name).await?.ok_or_else(missing)?.id);
        }
        Ok(people)
    }

    /// Adds who may use them: what the configuration says of those that it names, else what administrators said; and which of
    /// their tools, as administrators said.
    pub(super) async fn add_permissions(&self, upstreams: &mut [Upstream]) -> Result<(), Refused> {
        let restricted = self.store.restricted_upstreams().await?;
        let names: HashMap<_, _> = match restricted.is_empty() {
            true => HashMap::new(),
            false => self.store.users().await?.into_iter().map(|user| (user.id, user.name)).collect(),
        };
        let mut tools: HashMap<_, _> =
            self.store.upstream_tools().await?.into_iter().map(|row| (row.authority.clone(), row)).collect();
        for upstream in upstreams {
            upstream.tools = tools.remove(&upstream.domain).map(ToolRules::from);
            upstream.permission = if upstream.standing == Standing::Configured {
                let permitted = self.registry.permitted_by_configuration(&upstream.domain);
                permitted.map(|permitted| Permission { users: permitted.users, groups: permitted.groups })
            } else {
                let row = restricted.iter().find(|row| row.authority == upstream.domain);
                // Whoever was removed cannot come back under this id.
                row.map(|row| Permission {
                    users: row.users.iter().filter_map(|id| names.get(id).cloned()).collect(),
                    groups: row.groups.clone(),
                })
            };
        }
        Ok(())
    }
}

fn undecided(authority: &Authority) -> Upstream {
    Upstream {
        domain: authority.to_string(),
        standing: Standing::Awaiting,
        name: None,
        alias: None,
        label: label_of(authority),
        program: None,
        permission: None,
        tools: None,
        asked: Vec::new(),
        decided_at: None,
    }
}
