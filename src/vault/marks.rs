//! Which keys a database needs: a mark for every key that has ever sealed in it and was not given up since. So a gateway
//! learns at its start, without looking at every row, that a key is missing.

use super::places::{self, SealedPlace};
use super::{KeyId, Place, Vault, VaultKey, envelope};
use crate::error::Fault;
use crate::store::Store;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many values of a table are sealed with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The key.
    pub key: KeyId,
    /// The table.
    pub table: &'static str,
    /// How many.
    pub values: u64,
}

impl Vault {
    /// Refuses a database that needs other keys; marks it as one that needs ours.
    ///
    /// # Errors
    /// When a key is missing: names it and what is sealed with it.
    pub async fn check(&self, store: &Store) -> Result<(), Fault> {
        let former = store.setting(FORMER_CHECK.row).await?;
        if former.is_some() || marks(store).await?.is_empty() {
            self.adopt(store, former).await?;
        }
        self.verify(store).await?;
        let current = self.current_key();
        if self.put_mark(store, current).await? {
            // Another gateway with other keys may have been as fast on an empty database.
            if let Err(fault) = self.verify(store).await {
                store.delete_setting(&mark_name(current)).await?;
                return Err(fault);
            }
        }
        Ok(())
    }

    /// The keys that a database needs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keys_of(&self, store: &Store) -> Result<Vec<KeyId>, Fault> {
        Ok(marks(store).await?.into_iter().map(|(id, _)| id).collect())
    }

    /// Whether a gateway has ever sealed here with the current key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_in_use(&self, store: &Store) -> Result<bool, Fault> {
        Ok(store.setting(&mark_name(self.current_key())).await?.is_some())
    }

    /// How many values there are of each key in each table; reads all of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, store: &Store) -> Result<Vec<Usage>, Fault> {
        let mut usage = Vec::new();
        for place in &places::ALL {
            let keys = keys_in_use(place, store).await?;
            usage.extend(keys.into_iter().map(|(key, values)| Usage { key, table: place.column.table, values }));
        }
        usage.sort_by_key(|usage| (usage.key, usage.table));
        Ok(usage)
    }

    /// Gives up every key but the current one that nothing is sealed with; returns those that were given up.
    pub(super) async fn retire_keys(&self, store: &Store, usage: &[Usage]) -> Result<Vec<KeyId>, Fault> {
        let mut retired = Vec::new();
        for (id, _) in marks(store).await? {
            if id != self.current_key() && !usage.iter().any(|usage| usage.key == id) {
                store.delete_setting(&mark_name(id)).await?;
                retired.push(id);
            }
        }
        Ok(retired)
    }

    /// A new database; or one from before there were marks, where one value told whether the key is right, and all have to
    /// be looked at once.
    async fn adopt(&self, store: &Store, former: Option<Vec<u8>>) -> Result<(), Fault> {
        let key = former.as_ref().and_then(|check| envelope::key_of(check));
        let fits = |check| self.open(&FORMER_CHECK, check).is_ok_and(|value| *value == MARK);
        if former.as_deref().is_some_and(|check| !fits(check)) {
            return Err(stranger(key.as_slice()));
        }
        let usage = self.usage(store).await?;
        let missing: Vec<KeyId> = usage.iter().map(|usage| usage.key).filter(|key| !self.has_key(*key)).collect();
        if !missing.is_empty() {
            return Err(lacking(&missing, &usage));
        }
        for key in usage.iter().map(|usage| usage.key).chain(key) {
            self.put_mark(store, key).await?;
        }
        // Last, so that a process that dies here begins again.
        store.delete_setting(FORMER_CHECK.row).await?;
        Ok(())
    }

    async fn verify(&self, store: &Store) -> Result<(), Fault> {
        let marks = marks(store).await?;
        let missing: Vec<KeyId> = marks.iter().map(|(id, _)| *id).filter(|id| !self.has_key(*id)).collect();
        if missing.len() == marks.len() && !marks.is_empty() {
            return Err(stranger(&missing));
        }
        if !missing.is_empty() {
            return Err(lacking(&missing, &self.usage(store).await?));
        }
        for (id, mark) in marks {
            let name = mark_name(id);
            if !self.open(&mark_place(&name), &mark).is_ok_and(|value| *value == MARK) {
                return Err(Fault::gateway(format!("the setting {name} of the database is damaged: restore a backup")));
            }
        }
        Ok(())
    }

    /// `false` when there is one.
    async fn put_mark(&self, store: &Store, id: KeyId) -> Result<bool, Fault> {
        let name = mark_name(id);
        let mark = {
            let ring = self.0.load();
            let seal = |key: &VaultKey| envelope::seal(key, &ring.random, &mark_place(&name), MARK);
            ring.find(id).map(seal)
        };
        match mark {
            Some(mark) => Ok(store.put_setting_if_absent(&name, &mark).await?),
            None => Ok(false),
        }
    }
}

const MARK: &[u8] = b"portcullis";
const PREFIX: &str = "vault.key.";

/// What only the right keyring opened, when there was one mark for all keys.
const FORMER_CHECK: Place<'static> =
    Place { table: "settings", row: "vault.check", column: "value", person: "", upstream: "" };

fn mark_name(id: KeyId) -> String {
    format!("{PREFIX}{id}")
}

fn mark_place(name: &str) -> Place<'_> {
    Place { table: "settings", row: name, column: "value", person: "", upstream: "" }
}

async fn marks(store: &Store) -> Result<Vec<(KeyId, Vec<u8>)>, Fault> {
    let found = store.settings_beginning(PREFIX).await?;
    let id = |name: &str| name.strip_prefix(PREFIX)?.parse().ok();
    Ok(found.into_iter().filter_map(|(name, value)| Some((id(&name)?, value))).collect())
}

async fn keys_in_use(place: &SealedPlace, store: &Store) -> Result<BTreeMap<KeyId, u64>, Fault> {
    let mut keys = BTreeMap::new();
    for (beginning, values) in store.sealed_beginnings(&place.column, envelope::HEAD_LEN).await? {
        if let Some(key) = envelope::key_of(&beginning) {
            *keys.entry(key).or_default() += values;
        }
    }
    Ok(keys)
}

/// None of our keys is one of the database's.
fn stranger(needed: &[KeyId]) -> Fault {
    let needed: Vec<String> = needed.iter().map(KeyId::to_string).collect();
    let which = if needed.is_empty() { String::new() } else { format!(" (it needs {})", needed.join(" and ")) };
    Fault::gateway(format!(
        "the vault key does not fit this database{which}: vault.key_file must hold the key that the database was made \
         with, or vault.previous_key_files must list it beside the new one"
    ))
}

/// Some of the database's keys are not ours.
fn lacking(missing: &[KeyId], usage: &[Usage]) -> Fault {
    let mut text = String::new();
    for id in missing.iter().collect::<std::collections::BTreeSet<_>>() {
        let used: Vec<String> = usage
            .iter()
            .filter(|usage| usage.key == *id)
            .map(|usage| format!("{} in {}", usage.values, usage.table))
            .collect();
        let _ = match used.is_empty() {
            false => write!(
                text,
                "the vault key {id} is missing, and values are sealed with it ({}): list its file in \
                 vault.previous_key_files; ",
                used.join(", ")
            ),
            true => write!(
                text,
                "the vault key {id} is missing: a gateway seals with it, so list its file in vault.previous_key_files, \
                 or, if none does, let `portcullis vault rewrap` forget it; "
            ),
        };
    }
    Fault::gateway(text.trim_end_matches("; "))
}
