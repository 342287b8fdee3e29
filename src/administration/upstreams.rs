//! MCP servers: those of the configuration, those that an administrator decided about, and those that wait for it.

use super::records::{Moment, Standing, Upstream, UpstreamDecision};
use super::{Actor, Administration, Page, Refused};
use crate::hostname::{Authority, InvalidAuthority, InvalidLabel, Label, Target, UpstreamAddress};
use crate::store::{self, Decision};
use crate::upstream;

/// How long a name for people may be, in characters.
const MAX_NAME: usize = 100;

impl Administration {
    /// All upstreams: those that wait for a decision first, then the configured ones, then those decided about.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn upstreams(&self) -> Result<Page<Upstream>, Refused> {
        let decided = self.store.upstreams().await?;
        let mut all = self.awaiting().await?;
        let configured = self.registry.configured();
        all.extend(configured.iter().map(|one| of_registry(one, Standing::Configured)));
        let is_configured =
            |row: &store::Upstream| configured.iter().any(|one| one.authority.as_str() == row.authority);
        all.extend(decided.into_iter().filter(|row| !is_configured(row)).map(Upstream::from));
        self.add_permissions(&mut all).await?;
        Ok(Page::whole(all))
    }

    /// One upstream, by its domain or URL.
    ///
    /// # Errors
    /// [`Refused::NotFound`] for one that is neither configured nor decided about nor asked for.
    pub async fn upstream(&self, domain: &str) -> Result<Upstream, Refused> {
        let authority = parse(domain).map_err(|_| Refused::no("upstream", domain))?;
        let mut all = self.upstreams().await?.items;
        let place = all.iter().position(|one| one.domain == authority.as_str());
        place.map(|place| all.swap_remove(place)).ok_or_else(|| Refused::no("upstream", domain))
    }

    /// Decides about an upstream; alias and name stay as they are unless they are named. What is open at one that is
    /// denied ends.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for what cannot be an upstream; [`Refused::Conflict`] for one of the configuration, and for an
    /// alias that another upstream has.
    pub async fn decide(&self, actor: &Actor, domain: &str, decision: &UpstreamDecision) -> Result<Upstream, Refused> {
        let authority = parse(domain)?;
        self.must_be_foreign(&authority)?;
        if let Some(alias) = &decision.alias {
            self.must_be_free(alias, &authority).await?;
        }
        if decision.name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(Refused::Invalid(format!("name has 1 to {MAX_NAME} printable characters")));
        }
        let earlier = self.store.upstream(authority.as_str()).await?;
        let (alias, name) = earlier.map(|earlier| (earlier.alias, earlier.name)).unwrap_or_default();
        let row = store::Upstream {
            authority: authority.to_string(),
            decision: decision.decision.into(),
            alias: decision.alias.clone().or(alias),
            name: decision.name.clone().or(name),
            decided_by: actor.user,
            decided_at: self.clock.now(),
        };
        self.revocations.decide(&row).await?;
        let action = match row.decision {
            Decision::Approved => "upstream.approved",
            Decision::Denied => "upstream.denied",
        };
        self.record(actor, action, authority.as_str());
        let mut decided = [row.into()];
        self.add_permissions(&mut decided).await?;
        let [decided] = decided;
        Ok(decided)
    }

    /// Gives an upstream that was decided about another name and another alias, or none. Clients that were set up with another
    /// alias no longer find it there.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when nobody decided about it; [`Refused::Conflict`] for an alias that another upstream has;
    /// [`Refused::Invalid`].
    pub async fn rename_upstream(
        &self,
        actor: &Actor,
        domain: &str,
        (name, alias): (Option<String>, Option<String>),
    ) -> Result<Upstream, Refused> {
        let authority = parse(domain)?;
        let missing = || Refused::NotFound(format!("nobody decided about {domain}: approve it first"));
        let row = self.store.upstream(authority.as_str()).await?.ok_or_else(missing)?;
        if let Some(alias) = &alias {
            self.must_be_free(alias, &authority).await?;
        }
        if name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(Refused::Invalid(format!("name has 1 to {MAX_NAME} printable characters")));
        }
        let row = store::Upstream { name, alias, ..row };
        self.revocations.decide(&row).await?;
        self.record(actor, "upstream.renamed", authority.as_str());
        let mut renamed = [row.into()];
        self.add_permissions(&mut renamed).await?;
        let [renamed] = renamed;
        Ok(renamed)
    }

    /// Forgets a decision; what is open there ends unless unknown upstreams are allowed.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when nobody decided about it.
    pub async fn undecide(&self, actor: &Actor, domain: &str) -> Result<(), Refused> {
        let missing = || {
            let why = "the list of all upstreams shows what there is; configured ones are removed from the file";
            Refused::NotFound(format!("nobody decided about {domain}: {why}"))
        };
        let authority = parse(domain).map_err(|_| missing())?;
        if !self.revocations.undecide(authority.as_str()).await? {
            return Err(missing());
        }
        self.record(actor, "upstream.removed", authority.as_str());
        Ok(())
    }

    /// Neither this gateway nor an upstream of the configuration.
    pub(super) fn must_be_foreign(&self, authority: &Authority) -> Result<(), Refused> {
        if self.registry.is_own(authority) {
            let why = "is this gateway itself: name the MCP server behind it";
            return Err(Refused::Invalid(format!("{authority} {why}")));
        }
        if authority.is_program() {
            let why = "programs are named by the configuration alone: add an [[upstream]] with command and alias there";
            return Err(Refused::Invalid(format!("{authority} is no domain; {why}")));
        }
        if self.registry.configured().iter().any(|one| one.authority == *authority) {
            return Err(Refused::Conflict(format!("{authority} is in the configuration already: change it there")));
        }
        Ok(())
    }

    /// An alias that no other upstream has.
    async fn must_be_free(&self, alias: &str, authority: &Authority) -> Result<(), Refused> {
        match Label::parse(alias) {
            Ok(Label { account: None, target: Target::Alias(parsed) }) if *parsed == *alias => {}
            _ => return Err(Refused::Invalid(format!("{alias:?}: {}", InvalidLabel::Alias))),
        }
        let configured =
            self.registry.configured().into_iter().map(|one| (one.authority.to_string(), one.alias.clone()));
        let decided = self.store.upstreams().await?.into_iter().map(|one| (one.authority, one.alias));
        let mut others = configured.chain(decided).filter(|(other, _)| other != authority.as_str());
        match others.find(|(_, taken)| taken.as_deref() == Some(alias)) {
            Some((other, _)) => Err(Refused::Conflict(format!("{alias} is the alias of {other} already"))),
            None => Ok(()),
        }
    }
}

pub(super) fn parse(domain: &str) -> Result<Authority, Refused> {
    let address: Result<UpstreamAddress, InvalidAuthority> = domain.parse();
    address.map(|address| address.authority).map_err(|why| Refused::Invalid(format!("{domain:?}: {why}")))
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

pub(super) fn label_of(authority: &Authority) -> Option<String> {
    Label::encode(authority).ok().map(|label| label.to_string())
}

pub(super) fn of_registry(upstream: &upstream::Upstream, standing: Standing) -> Upstream {
    Upstream {
        domain: upstream.authority.to_string(),
        standing,
        name: Some(upstream.name.clone()).filter(|name| *name != upstream.authority.as_str()),
        alias: upstream.alias.clone(),
        label: label_of(&upstream.authority),
        program: upstream.kind.command().map(|command| command.name().to_owned()),
        permission: None,
        tools: None,
        asked: Vec::new(),
        decided_at: None,
    }
}

impl From<store::Upstream> for Upstream {
    fn from(row: store::Upstream) -> Self {
        Self {
            label: Authority::parse(&row.authority).ok().and_then(|authority| label_of(&authority)),
            domain: row.authority,
            standing: match row.decision {
                Decision::Approved => Standing::Approved,
                Decision::Denied => Standing::Denied,
            },
            name: row.name,
            alias: row.alias,
            program: None,
            permission: None,
            tools: None,
            asked: Vec::new(),
            decided_at: Some(Moment(row.decided_at)),
        }
    }
}
