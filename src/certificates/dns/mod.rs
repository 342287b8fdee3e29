//! DNS-01 (RFC 8555 §8.4): records below `_acme-challenge`, put there by dynamic updates or by a program.

mod hook;
mod update;

use crate::clock::Clock;
use crate::config::Records;
use crate::error::Fault;

/// The records of one order.
pub(super) struct Dns<'a> {
    records: &'a Records,
    clock: &'a Clock,
    /// Name and value.
    present: Vec<(String, String)>,
}

impl<'a> Dns<'a> {
    pub(super) fn new(records: &'a Records, clock: &'a Clock) -> Self {
        Self { records, clock, present: Vec::new() }
    }

    /// Adds the record of a domain beside those that are there: a wildcard and its parent have the same name.
    pub(super) async fn add(&mut self, domain: &str, value: String) -> Result<(), Fault> {
        let name = format!("_acme-challenge.{domain}");
        // First, so that it is removed also when nobody knows whether it came to be.
        self.present.push((name.clone(), value.clone()));
        match self.records {
            Records::Update(server) => update::change(server, update::Change::Add, (&name, &value), self.clock).await,
            Records::Hook(command) => hook::run(command, "present", (&name, &value)).await,
        }
    }

    /// Waits until the zone's server shows all records. A program returns when that is so.
    pub(super) async fn visible(&self) -> Result<(), Fault> {
        if let Records::Update(server) = self.records {
            for (name, value) in &self.present {
                update::wait_for(server, (name, value)).await?;
            }
        }
        Ok(())
    }

    /// Takes them back. What cannot be taken back is logged.
    pub(super) async fn remove(self) {
        for (name, value) in &self.present {
            let removed = match self.records {
                Records::Update(server) => {
                    update::change(server, update::Change::Remove, (name, value), self.clock).await
                }
                Records::Hook(command) => hook::run(command, "cleanup", (name, value)).await,
            };
            if let Err(fault) = removed {
                tracing::warn!(name, %fault, "a record stays in the DNS");
            }
        }
    }
}
