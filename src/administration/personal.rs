//! What people give upstreams by hand, and what they see at `/mcp`.

use super::records::{Member, NewCredentials};
use super::{Actor, Administration, Page, Refused};
use crate::connect::{ConnectionKey, PersonalCredentials, Remainder};
use crate::error::Fault;
use crate::hostname::{Account, Authority, Label};
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::{MemberName, User};
use crate::upstream::Upstream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::IntoParams;

/// Which account of a person at an upstream.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountChoice {
    /// Which account, as in the hostname; the plain one when it is left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
}

/// Which of the values that a person has given an upstream.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CredentialChoice {
    /// Which account, as in the hostname; the plain one when it is left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The name of one value; all of them when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Administration {
    /// Keeps values of a person for an upstream: of the names that are given, in place of earlier ones. What is open with those
    /// ends.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] where the upstream wants no such value, and for what cannot be one.
    pub async fn put_credentials(
        &self,
        actor: &Actor,
        domain: &str,
        user: &str,
        new: &NewCredentials,
    ) -> Result<(), Refused> {
        let (upstream, user) = (self.known(domain)?, self.somebody(user).await?);
        let given: Vec<_> = new.values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let key = key(&upstream, user.id, &new.account)?;
        self.keep_credentials(actor, &user, &key, &upstream, &given).await
    }

    /// The same for a person who is known, at an upstream that is.
    ///
    /// # Errors
    /// [`Refused::Invalid`] where the upstream wants no such value, and for what cannot be one.
    pub async fn keep_credentials(
        &self,
        actor: &Actor,
        user: &User,
        key: &ConnectionKey,
        upstream: &Upstream,
        given: &[(&str, &Secret)],
    ) -> Result<(), Refused> {
        let row = match given {
            [] => return Err(Refused::Invalid("there is no value: give one at least".to_owned())),
            given => self.personal()?.with(key, upstream, given).await?,
        };
        self.revocations.replace_connection(&row).await?;
        let wanted = upstream.personal();
        let names = given.iter().filter_map(|(name, _)| wanted.as_ref()?.name(name));
        self.record(actor, "credential.set", &subject(user, key, names));
        Ok(())
    }

    /// Forgets a value that a person gave an upstream, or all of them; what is open with it ends.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn delete_credentials(
        &self,
        actor: &Actor,
        domain: &str,
        user: &str,
        which: &CredentialChoice,
    ) -> Result<(), Refused> {
        let (upstream, user) = (self.known(domain)?, self.somebody(user).await?);
        let key = key(&upstream, user.id, &which.account)?;
        let wanted = upstream.personal();
        let name = which.name.as_deref();
        let name = name.map(|name| wanted.as_ref().and_then(|wanted| wanted.name(name)).unwrap_or(name));
        self.forget_credentials(actor, &user, &key, name).await
    }

    /// The same for a person who is known, at an upstream that is.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn forget_credentials(
        &self,
        actor: &Actor,
        user: &User,
        key: &ConnectionKey,
        name: Option<&str>,
    ) -> Result<(), Refused> {
        let unknown = || Refused::NotFound(format!("{} has given nothing of that name for {}", user.name, key.target));
        match self.personal()?.without(key, name).await? {
            Remainder::Unknown => return Err(unknown()),
            Remainder::Nothing(id) => match self.revocations.connection(id).await? {
                true => {}
                false => return Err(unknown()),
            },
            Remainder::Others(row) => self.revocations.replace_connection(&row).await?,
        }
        self.record(actor, "credential.removed", &subject(user, key, name));
        Ok(())
    }

    /// What a person has hidden from `/mcp`.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn hidden_members(&self, user: &str) -> Result<Page<Member>, Refused> {
        let user = self.somebody(user).await?;
        let hidden = self.store.hidden_members(user.id).await?;
        let member = |name: MemberName| Member { domain: name.authority, account: name.account };
        Ok(Page::whole(hidden.into_iter().map(member).collect()))
    }

    /// Hides an upstream from a person's `/mcp`, or shows it again. Nothing happens when it was so before.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] for what is no account.
    pub async fn select_member(
        &self,
        actor: &Actor,
        user: &str,
        (domain, account): (&str, &str),
        visible: bool,
    ) -> Result<(), Refused> {
        let (upstream, user) = (self.known(domain)?, self.somebody(user).await?);
        let key = key(&upstream, user.id, account)?;
        self.select(actor, &user, &key, visible).await
    }

    /// The same for a person who is known; whether anything changed is in the audit log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn select(&self, actor: &Actor, user: &User, key: &ConnectionKey, visible: bool) -> Result<(), Refused> {
        let account = key.account.as_ref().map_or("", Account::as_str).to_owned();
        let name = MemberName { authority: key.target.to_string(), account };
        let (changed, action) = match visible {
            true => (self.store.show_member(user.id, &name).await?, "member.shown"),
            false => (self.store.hide_member(user.id, &name).await?, "member.hidden"),
        };
        if changed {
            self.revocations.selected(user.id);
            self.record(actor, action, &subject(user, key, []));
        }
        Ok(())
    }

    /// An upstream by its domain, URL or alias.
    fn known(&self, text: &str) -> Result<Arc<Upstream>, Refused> {
        let aliased = Label::parse(text).ok().filter(|label| label.account.is_none());
        let found = aliased.and_then(|label| self.registry.find(&label));
        let found = found.or_else(|| self.registry.by_authority(&super::upstreams::parse(text).ok()?));
        found.ok_or_else(|| Refused::no("upstream", text))
    }

    fn personal(&self) -> Result<&PersonalCredentials, Fault> {
        self.personal.as_ref().ok_or_else(|| Fault::gateway("nobody asked for the key of the vault"))
    }
}

fn key(upstream: &Upstream, user: UserId, account: &str) -> Result<ConnectionKey, Refused> {
    let account = Some(account).filter(|account| !account.is_empty()).map(Account::parse).transpose();
    let account = account.map_err(|why| Refused::Invalid(format!("account: {why}")))?;
    let authority: Authority = upstream.authority.clone();
    Ok(ConnectionKey::upstream(user, authority, account))
}

/// `x-api-key of ann at mcp.example (work)`
fn subject<'n>(user: &User, key: &ConnectionKey, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let what = if names.is_empty() { String::new() } else { format!("{} of ", names.join(", ")) };
    let account = key.account.as_ref().map(|account| format!(" ({})", account.as_str())).unwrap_or_default();
    format!("{what}{} at {}{account}", user.name, key.target)
}
