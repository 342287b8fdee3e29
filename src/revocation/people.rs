//! What administrators change about people: who may sign in, who administers, who belongs to what, and who may use which
//! upstream. All of it can take something away, and so all of it ends what is open.

use super::Revocations;
use crate::error::Fault;
use crate::ids::UserId;
use crate::store::{Ended, Role, StoreError, UpstreamAccess, UpstreamTools, User};

impl Revocations {
    /// Removes a person with sessions, grants and connections. What ended; `None` when there is no such person.
    ///
    /// # Errors
    /// [`StoreError::LastAdministrator`]; when the store fails.
    pub async fn person(&self, id: UserId) -> Result<Option<Ended>, StoreError> {
        let ended = self.store.delete_user(id, self.clock.now()).await?;
        if let Some(ended) = &ended {
            self.forget(ended);
        }
        Ok(ended)
    }

    /// Lets nobody sign in as this person. Sessions and grants end for good: whoever is let in again signs in again and
    /// consents to each client again. Connections to upstreams stay, and cannot be used until then. What ended, with the
    /// connections that stay; `None` when there is no such person.
    ///
    /// # Errors
    /// When this is the last administrator; when the store fails.
    pub async fn disable(&self, id: UserId) -> Result<Option<Ended>, Fault> {
        let Some(ended) = self.store.disable_user(id, self.clock.now()).await? else { return Ok(None) };
        self.forget(&Ended { grants: ended.grants.clone(), connections: Vec::new() });
        self.follow_people().await?;
        Ok(Some(ended))
    }

    /// Lets a person sign in again; `false` when there is no such person.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn enable(&self, id: UserId) -> Result<bool, Fault> {
        let found = self.store.enable_user(id).await?;
        self.follow_people().await?;
        Ok(found)
    }

    /// Gives a person a role. It counts from the next request on; `false` when there is no such person.
    ///
    /// # Errors
    /// When this is the last administrator; when the store fails.
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<bool, Fault> {
        Ok(self.store.set_role(id, role).await?)
    }

    /// Replaces the groups that one source (an identity provider) knows of a person; whether that changed anything. What
    /// the person may use no longer ends.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_groups(&self, id: UserId, source: &str, groups: &[String]) -> Result<bool, Fault> {
        let changed = self.store.set_groups(id, source, groups).await?;
        if changed {
            self.follow_people().await?;
        }
        Ok(changed)
    }

    /// Puts a person into a group, as an administrator; `false` when one did that before.
    ///
    /// # Errors
    /// When the name is not 1 to 200 printable characters; when the store fails.
    pub async fn join(&self, user: &User, group: &str) -> Result<bool, Fault> {
        check_group(group)?;
        let changed = self.store.add_group(user.id, group).await?;
        self.follow_people().await?;
        Ok(changed)
    }

    /// Takes a person out of a group that an administrator put the person into.
    ///
    /// # Errors
    /// When no administrator did: the text says when a provider did. When the store fails.
    pub async fn leave(&self, user: &User, group: &str) -> Result<(), Fault> {
        if self.store.remove_group(user.id, group).await? {
            return self.follow_people().await;
        }
        let name = &user.name;
        Err(Fault::caller(match self.store.groups_of(user.id).await?.iter().any(|known| known == group) {
            true => format!(
                "{name} is in {group} because an identity provider says so: change it there, it counts from the next sign-in on"
            ),
            false => format!("{name} is not in a group {group}: `portcullis user list` shows the groups of everybody"),
        }))
    }

    /// Says who may use an upstream that the configuration does not name. What others have open there ends.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn restrict(&self, access: &UpstreamAccess) -> Result<(), Fault> {
        self.store.put_upstream_access(access).await?;
        self.follow_upstreams().await
    }

    /// Lets everybody use an upstream again, as far as it may be used at all; `false` when everybody could.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unrestrict(&self, authority: &str) -> Result<bool, Fault> {
        let deleted = self.store.delete_upstream_access(authority).await?;
        self.follow_upstreams().await?;
        Ok(deleted)
    }

    /// Says which tools of an upstream may be used. It holds from the next request on; what is open there ends, because it was
    /// begun under other rules, and clients connect again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn permit_tools(&self, tools: &UpstreamTools) -> Result<(), Fault> {
        self.store.put_upstream_tools(tools).await?;
        self.follow_upstreams().await
    }

    /// Lets all tools of an upstream be used, as far as the configuration does; `false` when nothing else was said.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn permit_all_tools(&self, authority: &str) -> Result<bool, Fault> {
        let deleted = self.store.delete_upstream_tools(authority).await?;
        self.follow_upstreams().await?;
        Ok(deleted)
    }

    /// Memory learns who may use what. Also when nothing is different: somebody who asked may have been faster.
    pub(super) async fn follow_people(&self) -> Result<(), Fault> {
        let Some(memory) = &self.memory else { return Ok(()) };
        memory.registry.reload_people().await?;
        memory.connections.leave_unusable_upstreams();
        Ok(())
    }
}

/// The longest name of a group, in characters.
const MAX_GROUP: usize = 200;

/// Names of groups are those of identity providers, and so are not restricted to much. They are compared to the letter.
///
/// # Errors
/// When the name is empty, too long, or cannot be shown.
pub fn check_group(name: &str) -> Result<(), Fault> {
    let printable = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if printable && name.chars().count() <= MAX_GROUP {
        return Ok(());
    }
    Err(Fault::caller("the name of a group has 1 to 200 printable characters"))
}
