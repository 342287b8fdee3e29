//! People.

use super::paging::{Page, PageRequest, cursor};
use super::records::{Ended, NewUser, Role, User, UserChange};
use super::{Actor, Administration, Refused};
use crate::ids::UserId;
use crate::revocation;
use crate::secret::Secret;
use crate::store::{self, BY_ADMINISTRATOR};
use std::collections::HashMap;

impl Administration {
    /// People, by name; with a name only the one who has it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn users(&self, name: Option<&str>, page: &PageRequest) -> Result<Page<User>, Refused> {
        let (limit, after) = (page.limit()?, page.after::<1>()?);
        if let Some(name) = name {
            let found = self.store.user_by_name(name).await?;
            return Ok(Page::whole(match found {
                Some(user) => vec![self.described(user).await?],
                None => Vec::new(),
            }));
        }
        let users = self.store.users_page(after.as_ref().map(|[name]| name.as_str()), limit + 1).await?;
        let mut groups: HashMap<UserId, Vec<String>> = HashMap::new();
        for (user, group) in self.store.memberships().await? {
            groups.entry(user).or_default().push(group);
        }
        let described = |user: store::User| {
            let groups = groups.remove(&user.id).unwrap_or_default();
            User::new(user, groups)
        };
        Ok(Page::of(users, limit, |user| cursor(&[&user.name])).map(described))
    }

    /// One person.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn user(&self, id: &str) -> Result<User, Refused> {
        let user = self.person(id).await?;
        self.described(user).await
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when the name is taken; [`Refused::Invalid`].
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<User, Refused> {
        if self.store.user_by_name(&new.name).await?.is_some() {
            return Err(Refused::Conflict(format!("there is a user {} already: choose another name", new.name)));
        }
        let email = new.email.as_deref().map(address).transpose()?.flatten();
        let mut user = self.identity.add(&new.name, new.password.as_ref(), new.role.into()).await?;
        if email.is_some() {
            self.store.set_user_email(user.id, email.as_deref()).await?;
            user.email = email;
        }
        self.record(actor, "user.created", &user.name);
        self.described(user).await
    }

    /// Changes what somebody may do, whether the person may sign in, and what we know of the person.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Conflict`] when nobody would administer the gateway afterwards.
    pub async fn change_user(&self, actor: &Actor, id: &str, change: &UserChange) -> Result<User, Refused> {
        let user = self.person(id).await?;
        let email = change.email.as_deref().map(address).transpose()?;
        if change.role == Some(Role::Member) || change.disabled == Some(true) {
            self.must_not_be_the_last(&user).await?;
        }
        if let Some(email) = email.filter(|email| *email != user.email) {
            self.store.set_user_email(user.id, email.as_deref()).await?;
            self.record(actor, "user.email_changed", &user.name);
        }
        if let Some(role) = change.role.map(store::Role::from).filter(|role| *role != user.role) {
            self.revocations.set_role(user.id, role).await?;
            self.record(actor, "user.role_changed", &user.name);
        }
        if let Some(groups) = &change.groups {
            groups.iter().try_for_each(|group| revocation::check_group(group))?;
            if self.revocations.set_groups(user.id, BY_ADMINISTRATOR, groups).await? {
                self.record(actor, "user.groups_changed", &user.name);
            }
        }
        match change.disabled.filter(|disabled| *disabled != user.disabled) {
            Some(true) => {
                self.revocations.disable(user.id).await?;
                self.record(actor, "user.disabled", &user.name);
            }
            Some(false) => {
                self.revocations.enable(user.id).await?;
                self.record(actor, "user.enabled", &user.name);
            }
            None => {}
        }
        self.user(id).await
    }

    /// Gives a person a new password; all the person's browsers are signed out.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`].
    pub async fn set_password(&self, actor: &Actor, id: &str, password: &Secret) -> Result<(), Refused> {
        let user = self.person(id).await?;
        self.identity.set_password(&user.name, password).await?;
        self.record(actor, "user.password_changed", &user.name);
        Ok(())
    }

    /// Removes a person with sessions, grants and connections.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Conflict`] when nobody would administer the gateway afterwards.
    pub async fn delete_user(&self, actor: &Actor, id: &str) -> Result<Ended, Refused> {
        let user = self.person(id).await?;
        self.must_not_be_the_last(&user).await?;
        let ended = self.revocations.person(user.id).await?.ok_or_else(|| Refused::no("user", id))?;
        self.record(actor, "user.removed", &user.name);
        Ok(Ended { grants: ended.grants.len(), connections: ended.connections.len() })
    }

    /// The person behind an id.
    pub(super) async fn person(&self, id: &str) -> Result<store::User, Refused> {
        let missing = || Refused::no("user", id);
        let parsed: UserId = id.parse().map_err(|_| missing())?;
        self.store.user(parsed).await?.ok_or_else(missing)
    }

    async fn described(&self, user: store::User) -> Result<User, Refused> {
        let groups = self.store.groups_of(user.id).await?;
        Ok(User::new(user, groups))
    }

    /// A gateway without administrator could be claimed by whoever reads its log.
    async fn must_not_be_the_last(&self, user: &store::User) -> Result<(), Refused> {
        let administers = |user: &store::User| user.role == store::Role::Administrator && !user.disabled;
        let is_another = |other: &store::User| other.id != user.id && administers(other);
        if !administers(user) || self.store.users().await?.iter().any(is_another) {
            return Ok(());
        }
        let why = "is the only administrator: make somebody else one first";
        Err(Refused::Conflict(format!("{} {why}", user.name)))
    }
}

/// An e-mail address, none for an empty text. Whether it is the person's nobody knows.
fn address(text: &str) -> Result<Option<String>, Refused> {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    let good = text.len() <= 254 && parts.is_some() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    match text {
        "" => Ok(None),
        text if good => Ok(Some(text.to_owned())),
        _ => Err(Refused::Invalid("email is no address: name@host, at most 254 bytes".to_owned())),
    }
}
