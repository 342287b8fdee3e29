//! Keys of programs.

use super::records::{ApiKey, ApiScope, CreatedApiKey, Moment, NewApiKey};
use super::{Actor, Administration, Page, Refused};
use crate::apikey;
use crate::ids::{ApiKeyId, UserId};
use crate::store;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest life of a key that is not to live for ever, in seconds: a hundred years.
const LONGEST: u64 = 3_153_600_000;

impl Administration {
    /// All keys, oldest first, also those that have expired.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn api_keys(&self) -> Result<Page<ApiKey>, Refused> {
        let names: BTreeMap<_, _> =
            self.store.users().await?.into_iter().map(|user| (user.id.to_string(), user.name)).collect();
        let keys = self.api_keys.list().await?;
        Ok(Page::whole(keys.into_iter().map(|key| record(key, &names)).collect()))
    }

    /// Makes a key; nobody sees it again.
    ///
    /// # Errors
    /// [`Refused::Invalid`] when the wishes contradict each other or name people or services that are not there.
    pub async fn create_api_key(&self, actor: &Actor, new: &NewApiKey) -> Result<CreatedApiKey, Refused> {
        if new.expires_in.is_some_and(|seconds| seconds > LONGEST) {
            return Err(Refused::Invalid(format!("expires_in is at most {LONGEST} seconds: leave it out for ever")));
        }
        for service in &new.services {
            // A name that no service has would limit the key to nothing, and nobody would see why.
            self.service(service).map_err(|_| {
                Refused::Invalid(format!("there is no service {service}: the list of services shows all"))
            })?;
        }
        let wanted = apikey::NewApiKey {
            name: new.name.clone(),
            scopes: new.scopes.iter().copied().map(apikey::ApiScope::from).collect(),
            resources: new.resources.clone(),
            services: new.services.clone(),
            users: self.ids_of(&new.users).await?,
            ttl: new.expires_in.map(Duration::from_secs),
        };
        let made = self.api_keys.create(&wanted).await?;
        self.record(actor, "apikey.created", &format!("{} ({})", new.name, made.id));
        Ok(CreatedApiKey {
            id: made.id.to_string(),
            key: made.key.expose().to_owned(),
            expires_at: made.expires_at.map(Moment),
        })
    }

    /// Ends a key, everywhere at once.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn revoke_api_key(&self, actor: &Actor, id: &str) -> Result<(), Refused> {
        let missing = || Refused::no("API key", id);
        let parsed: ApiKeyId = id.parse().map_err(|_| missing())?;
        if !self.api_keys.revoke(parsed).await? {
            return Err(missing());
        }
        self.record(actor, "apikey.revoked", id);
        Ok(())
    }

    async fn ids_of(&self, names: &[String]) -> Result<Vec<UserId>, Refused> {
        let mut ids = Vec::new();
        for name in names {
            let missing = || Refused::Invalid(format!("there is no user {name}: the list of users shows all"));
            ids.push(self.store.user_by_name(name).await?.ok_or_else(missing)?.id);
        }
        Ok(ids)
    }
}

fn record(key: store::ApiKey, names: &BTreeMap<String, String>) -> ApiKey {
    let words = |list: &str| list.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let scopes =
        words(&key.scopes).into_iter().filter_map(|word| word.parse::<apikey::ApiScope>().ok()).map(ApiScope::from);
    ApiKey {
        id: key.id.to_string(),
        scopes: scopes.collect(),
        resources: words(&key.resources),
        services: words(&key.services),
        users: words(&key.users).into_iter().map(|id| names.get(&id).cloned().unwrap_or(id)).collect(),
        name: key.name,
        created_at: Moment(key.created_at),
        expires_at: key.expires_at.map(Moment),
        last_used_at: key.last_used_at.map(Moment),
    }
}
