//! Links: how a program sends one person to connect one service. A link works once, for a quarter of an hour, for the
//! person that it was made for, and as long as its key lives. Only its digest is kept.

use super::Broker;
use super::caller::{Caller, Subject};
use super::refusal::Refusal;
use crate::error::Fault;
use crate::ids::Digest;
use crate::oauth::scope::Scopes;
use crate::store::{LinkCallback, ServiceLink};
use serde::Serialize;
use std::time::Duration;

/// How long a person may take from the link to the decision.
const LIFE: Duration = Duration::from_secs(900);

/// A link as the program gets it.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    /// To be opened by the person.
    auth_url: String,
    /// In seconds; absent for a page that is always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// What is different about links.
pub(super) struct Wish<'a> {
    pub(super) scopes: &'a Scopes,
    pub(super) callback: LinkCallback,
    /// Checked: an address to which we may send people.
    pub(super) return_to: Option<String>,
}

impl Broker {
    /// Makes a link.
    pub(super) async fn link(&self, caller: &Caller, subject: &Subject, wish: Wish<'_>) -> Result<Link, Refusal> {
        let (secret, now, name) = (self.random.token(), self.clock.now(), &subject.service.name);
        let end = now.after(LIFE);
        let link = ServiceLink {
            id: id(&secret),
            api_key: caller.key().id(),
            user: subject.user.id,
            service: name.to_string(),
            scope: wish.scopes.to_string(),
            callback: wish.callback,
            return_to: wish.return_to,
            expires_at: caller.key().expires_at().map_or(end, |key_ends| end.min(key_ends)),
        };
        self.store.insert_service_link(&link).await?;
        caller.record(self, "service.link_created", &format!("{name} for {}", subject.user.name));
        let auth_url = format!("{}/auth/{name}?link={}", self.site.root_origin(), *secret);
        Ok(Link { auth_url, expires_in: Some(link.expires_at.since(now).as_secs()) })
    }

    /// Where anybody keeps a personal access token, for services that nobody can sign in to.
    pub(super) fn account_page(&self) -> Link {
        Link { auth_url: format!("{}/account", self.site.root_origin()), expires_in: None }
    }

    /// The link with this secret, if it is still good for this service, and the name of the key that made it.
    pub(super) async fn find_link(&self, secret: &str, service: &str) -> Result<Option<(ServiceLink, String)>, Fault> {
        let link = self.store.service_link(&id(secret), self.clock.now()).await?;
        let Some(link) = link.filter(|link| link.service == service) else { return Ok(None) };
        let key = self.store.api_key(link.api_key).await?;
        Ok(key.map(|key| (link, key.name)))
    }
}

fn id(secret: &str) -> Digest {
    Digest::of(format!("service link:{secret}"))
}
