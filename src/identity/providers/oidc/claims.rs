//! From claims to a profile: names, e-mail, groups, and whether the rules let the person in.

use super::super::{Profile, SignInError, email};
use crate::config::{Allowed, OidcLogin};
use serde_json::{Map, Value};

/// More groups than this are not kept, though all of them count for the rules.
const KEPT_GROUPS: usize = 1000;

/// What a provider says about somebody (OpenID Connect Core §5.1).
pub(super) struct Claims<'a> {
    settings: &'a OidcLogin,
    members: Map<String, Value>,
}

impl<'a> Claims<'a> {
    /// Those of an ID token.
    pub(super) fn new(settings: &'a OidcLogin, members: Map<String, Value>) -> Self {
        Self { settings, members }
    }

    /// Whether something is missing that the userinfo endpoint may know.
    pub(super) fn are_incomplete(&self) -> bool {
        let wanted = [self.settings.groups_claim.as_str(), "email", "email_verified", "preferred_username"];
        wanted.iter().any(|name| !self.members.contains_key(*name))
    }

    /// Adds what the ID token does not have. An address and whether it is verified come from the same place.
    pub(super) fn add(&mut self, mut others: Map<String, Value>) {
        if others.contains_key("email") && !self.members.contains_key("email_verified") {
            self.members.remove("email");
        } else {
            others.remove("email");
            others.remove("email_verified");
        }
        for (name, value) in others {
            self.members.entry(name).or_insert(value);
        }
    }

    /// The profile, if the rules let the person in.
    pub(super) fn into_profile(self, subject: String) -> Result<Profile, SignInError> {
        let email = self.email();
        let groups = self.groups();
        let name = self.name(email.as_deref());
        self.check_rules(email.as_deref(), &groups).map_err(|public| {
            let private = format!("{} at {}: {subject:?}, {name:?}", self.settings.name, self.settings.issuer);
            SignInError::Refused { public, private }
        })?;
        let administrator = self.settings.admin_groups.iter().any(|group| groups.contains(group));
        Ok(Profile {
            provider: self.settings.name.clone(),
            issuer: self.settings.issuer.clone(),
            subject,
            name,
            email,
            groups: groups.into_iter().take(KEPT_GROUPS).collect(),
            administrator,
        })
    }

    /// Every rule that there is must fit.
    fn check_rules(&self, email: Option<&str>, groups: &[String]) -> Result<(), String> {
        let label = &self.settings.label;
        if let Some(Allowed::These(domains)) = &self.settings.allowed_domains {
            let domain = email.and_then(email::domain_of).ok_or_else(|| {
                format!(
                    "{label} does not vouch for your e-mail address, which decides whether you may use this gateway."
                )
            })?;
            if !domains.contains(&domain) {
                return Err(format!("People with an address at {domain} may not use this gateway."));
            }
        }
        let Some(allowed) = &self.settings.allowed_groups else { return Ok(()) };
        if allowed.iter().any(|group| groups.contains(group)) {
            return Ok(());
        }
        if self.groups_are_elsewhere() {
            return Err(format!(
                "You are in more groups than {label} can list. An administrator has to make it send those of this \
                 gateway only."
            ));
        }
        Err(format!("None of your groups at {label} may use this gateway. Ask an administrator to add you to one."))
    }

    /// The address, when the provider has verified it. Some say so with a text.
    fn email(&self) -> Option<String> {
        let verified = match self.members.get("email_verified")? {
            Value::Bool(verified) => *verified,
            Value::String(text) => text == "true",
            _ => false,
        };
        let address = self.members.get("email")?.as_str().filter(|_| verified)?;
        email::domain_of(address).map(|_| address.to_owned())
    }

    /// A list of texts, or one text.
    fn groups(&self) -> Vec<String> {
        match self.members.get(&self.settings.groups_claim) {
            Some(Value::Array(list)) => list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            Some(Value::String(name)) => vec![name.clone()],
            _ => Vec::new(),
        }
    }

    /// Entra ID: beyond 200 groups there is only a reference to where they are (Core §5.6.2).
    fn groups_are_elsewhere(&self) -> bool {
        let sources = self.members.get("_claim_names").and_then(Value::as_object);
        sources.is_some_and(|sources| sources.contains_key(&self.settings.groups_claim))
    }

    fn name(&self, email: Option<&str>) -> String {
        let text = |name: &str| self.members.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let local = email.and_then(|address| address.split('@').next());
        let name = text("preferred_username").or(text("nickname")).or(local).or(text("name"));
        name.unwrap_or(&self.settings.name).to_owned()
    }
}
