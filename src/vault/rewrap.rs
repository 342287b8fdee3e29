//! Another key takes over (`vault rewrap`): every value that is sealed with an earlier one is wrapped anew, while gateways
//! run. It can be killed at any moment: what is done is skipped the next time, and what is not opens with its old key.

use super::places::{self, SealedPlace};
use super::{KeyId, Usage, Vault, VaultError, envelope};
use crate::error::Fault;
use crate::store::{SealedValue, Store};
use tokio::time::Instant;

/// How many values are replaced in one transaction: gateways wait for it.
const BATCH: u32 = 250;

/// How often it begins again when there is still something: gateways that seal with an old key go on doing so.
const PASSES: u32 = 3;

/// How many damaged values are named.
const NAMED: usize = 20;

/// How far it is; told after every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub table: &'static str,
    /// How many values were wrapped anew.
    pub done: u64,
    /// How many there were to do at the beginning.
    pub of: u64,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many values were wrapped anew.
    pub done: u64,
    /// What is still sealed with other keys than the current one.
    pub left: Vec<Usage>,
    /// Some of the values that do not open with the key they name, and
    pub damaged: Vec<Damaged>,
    /// how many there are.
    pub damaged_in_all: u64,
    /// Keys that nothing in the database needs any more.
    pub retired: Vec<KeyId>,
}

/// A value that does not open where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The table,
    pub table: &'static str,
    /// and the row, as the vault names it.
    pub row: String,
}

impl Vault {
    /// Wraps everything anew that is sealed with another key than the current one, or in an old format, and gives up the
    /// keys that nothing needs then.
    ///
    /// # Errors
    /// When the store fails; what was done until then stays.
    pub async fn rewrap_all(&self, store: &Store, told: &mut dyn FnMut(Progress)) -> Result<Rewrapped, Fault> {
        self.rewrap_by(BATCH, store, told).await
    }

    pub(super) async fn rewrap_by(
        &self,
        batch: u32,
        store: &Store,
        told: &mut dyn FnMut(Progress),
    ) -> Result<Rewrapped, Fault> {
        let of = self.outstanding(store).await?;
        let mut outcome = Rewrapped::default();
        for _ in 0..PASSES {
            let before = outcome.done;
            (outcome.damaged, outcome.damaged_in_all) = (Vec::new(), 0);
            for place in &places::ALL {
                let walk = Walk { vault: self, store, place, batch };
                walk.run(&mut outcome, &mut |done| told(Progress { table: place.column.table, done, of })).await?;
            }
            if outcome.done == before {
                break;
            }
        }
        let usage = self.usage(store).await?;
        outcome.retired = self.retire_keys(store, &usage).await?;
        outcome.left = usage.into_iter().filter(|usage| usage.key != self.current_key()).collect();
        Ok(outcome)
    }

    /// How many values have to be wrapped anew.
    async fn outstanding(&self, store: &Store) -> Result<u64, Fault> {
        let head = self.head();
        let mut outstanding = 0;
        for place in &places::ALL {
            let beginnings = store.sealed_beginnings(&place.column, head.len()).await?;
            let other = |(beginning, _): &&(Vec<u8>, u64)| *beginning != head && envelope::key_of(beginning).is_some();
            outstanding += beginnings.iter().filter(other).map(|(_, values)| values).sum::<u64>();
        }
        Ok(outstanding)
    }

    fn head(&self) -> [u8; envelope::HEAD_LEN] {
        self.0.load().current.head()
    }
}

/// One column from its first row to its last.
struct Walk<'a> {
    vault: &'a Vault,
    store: &'a Store,
    place: &'a SealedPlace,
    batch: u32,
}

impl Walk<'_> {
    async fn run(&self, outcome: &mut Rewrapped, told: &mut dyn FnMut(u64)) -> Result<(), Fault> {
        let (head, column) = (self.vault.head(), &self.place.column);
        let mut after = None;
        loop {
            let values = self.store.sealed_otherwise(column, &head, after.as_deref(), self.batch).await?;
            let Some(last) = values.last() else { return Ok(()) };
            after = Some(last.key.clone());
            let began = Instant::now();
            let replaced = self.wrap(values, outcome);
            // A value that has changed meanwhile was sealed anew by a gateway: with the current key, or it is left.
            outcome.done += self.store.replace_sealed(column, &replaced).await?;
            told(outcome.done);
            // Half of the time the database is there for others.
            tokio::time::sleep(began.elapsed()).await;
        }
    }

    fn wrap(&self, values: Vec<SealedValue>, outcome: &mut Rewrapped) -> Vec<(SealedValue, Vec<u8>)> {
        let mut replaced = Vec::with_capacity(values.len());
        for value in values {
            let belonging = self.place.belonging(&value);
            let wrapped = belonging.as_ref().map(|whose| self.vault.rewrap(&self.place.place(whose), &value.sealed));
            match wrapped {
                Some(Ok(sealed)) => replaced.push((value, sealed)),
                // Counted with its key.
                Some(Err(VaultError::UnknownKey(_))) => {}
                Some(Err(VaultError::Rejected)) | None => {
                    outcome.damaged_in_all += 1;
                    if outcome.damaged.len() < NAMED {
                        let row = belonging.map(|belonging| belonging.row).unwrap_or_default();
                        outcome.damaged.push(Damaged { table: self.place.column.table, row });
                    }
                }
            }
        }
        replaced
    }
}
