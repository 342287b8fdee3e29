//! Machine clients: programs that act for a person.

use super::clients::realm_of;
use super::records::{CreatedClient, MachineGrant, NewClient};
use super::{Actor, Administration, Refused};
use crate::hostname::{Realm, Target};
use crate::machine::{self, MachineProof, NewMachineClient};
use crate::oauth::grant_type::GrantType;
use crate::oauth::registration::ClientKeys;
use crate::oauth::scope::Scopes;

impl Administration {
    /// Makes a machine client; nobody sees its secret again.
    ///
    /// # Errors
    /// [`Refused::Invalid`] when the wishes cannot be, or name somebody or something that is not there.
    pub async fn create_client(&self, actor: &Actor, new: &NewClient) -> Result<CreatedClient, Refused> {
        let owner =
            self.store.user_by_name(&new.user).await?.ok_or_else(|| {
                Refused::Invalid(format!("there is no user {}: the list of users shows all", new.user))
            })?;
        let grant_types: Vec<MachineGrant> = match new.grant_types.is_empty() {
            true => vec![MachineGrant::ClientCredentials],
            false => new.grant_types.clone(),
        };
        let machine = NewMachineClient {
            name: new.name.clone(),
            owner: owner.id,
            realm: self.realm(new.upstream.as_deref()).await?,
            scope: scopes(&new.scopes)?,
            grant_types: grant_types.into_iter().map(GrantType::from).collect(),
            proof: proof(new)?,
        };
        let made = machine::create(&self.store, &self.clock, &self.random, &machine).await?;
        let place = &machine.realm;
        self.record(actor, "client.created", &format!("{} ({}) at {place} for {}", machine.name, made.id, owner.name));
        Ok(CreatedClient {
            realm: realm_of(machine.realm.key()),
            id: made.id,
            secret: made.secret.map(|secret| secret.expose().to_owned()),
        })
    }

    /// The root, or the server that was named, which may be by an alias that exists.
    async fn realm(&self, server: Option<&str>) -> Result<Realm, Refused> {
        let Some(server) = server else { return Ok(Realm::Root) };
        let realm = machine::realm(server)?;
        if let Realm::Mcp(label) = &realm
            && let Target::Alias(alias) = &label.target
        {
            let is_it = |other: Option<&str>| other == Some(&**alias);
            let is_configured = self.registry.configured().iter().any(|one| is_it(one.alias.as_deref()));
            if !is_configured && !self.store.upstreams().await?.iter().any(|one| is_it(one.alias.as_deref())) {
                let why = "the list of upstreams shows all";
                return Err(Refused::Invalid(format!("no MCP server has the alias {alias}: {why}")));
            }
        }
        Ok(realm)
    }
}

fn scopes(given: &[String]) -> Result<Option<Scopes>, Refused> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Refused::Invalid("a scope has characters that no scope may have (RFC 6749, 3.3)".to_owned());
    Scopes::parse(&given.join(" ")).map(Some).map_err(wrong)
}

fn proof(new: &NewClient) -> Result<MachineProof, Refused> {
    match (&new.jwks, &new.jwks_uri) {
        (None, None) => Ok(MachineProof::Secret),
        (Some(set), None) => Ok(MachineProof::Keys(ClientKeys::Inline(set.clone()))),
        (None, Some(url)) => Ok(MachineProof::Keys(ClientKeys::Remote(url.clone()))),
        (Some(_), Some(_)) => Err(Refused::Invalid("jwks and jwks_uri exclude each other: send one".to_owned())),
    }
}

impl From<MachineGrant> for GrantType {
    fn from(grant: MachineGrant) -> Self {
        match grant {
            MachineGrant::ClientCredentials => Self::ClientCredentials,
            MachineGrant::TokenExchange => Self::TokenExchange,
            MachineGrant::JwtBearer => Self::JwtBearer,
        }
    }
}
