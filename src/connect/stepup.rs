//! Step-up (MCP 2025-11-25 and 2026-07-28, authorization, "Scope Challenge Handling"): what an upstream asks for beyond
//! what a connection has is remembered, the next authorization asks for it, and nobody is asked without end.

mod demands;

use super::{ConnectionKey, Connections, Credential, Target};
use crate::error::Fault;
use crate::ids::ConnectionId;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::store::{Connection, ConnectionState};
use demands::Demands;

/// More scope than this in one challenge is not repeated to anybody, in bytes.
const LONGEST: usize = 2048;

/// What comes of an upstream's `insufficient_scope`.
#[derive(Debug, PartialEq, Eq)]
pub enum StepUp {
    /// The client is to run the flow again, with these scopes: what the connection has, and what is asked for.
    Ask(Scopes),
    /// People were asked often enough without any use, or nobody can be asked.
    Final,
}

impl Connections {
    /// The upstream answered 403 `insufficient_scope` to `refused`: what it asks for is written down for the next
    /// authorization.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn step_up(
        &self,
        key: &ConnectionKey,
        refused: &Credential,
        challenge: &BearerChallenge,
    ) -> Result<StepUp, Fault> {
        let row = self.row(key).await?.filter(|row| Some(row.id) == refused.connection && row.personal.is_none());
        let (Some(row), Target::Upstream(authority)) = (row, &key.target) else { return Ok(StepUp::Final) };
        let asked = match &challenge.scope {
            Some(scope) => Scopes::lenient(scope.split(' ')),
            None => self.discovered_scopes(authority).await,
        };
        let (asked, has) = (asked.without(OFFLINE_ACCESS), scopes_of(&row));
        // Refused with a credential that was replaced meanwhile by one that has it all: coming again is enough.
        if row.version > refused.version && asked.is_subset(&has) {
            return Ok(StepUp::Ask(has));
        }
        let (mut demands, now) = (self.demands(row.id).await?, self.clock.now());
        let known = demands.clone();
        if asked.to_string().len() > LONGEST || !demands.raise(&asked, now) {
            return Ok(StepUp::Final);
        }
        if demands != known {
            tracing::info!(connection = %row.id, authority = row.authority, scope = %asked, "the upstream asks for more scope");
            self.store.put_step_ups(row.id, &demands.to_json()?).await?;
            self.learn_scopes(authority, &asked).await?;
        }
        if row.state == ConnectionState::Open {
            // What needs no authorization goes on without; the next discovery finds out how to get one.
            self.heed(key, challenge.clone()).await;
        }
        Ok(StepUp::Ask(demands.waiting(now).unwrap_or_default().union(&has)))
    }

    /// What a connection is going to have after a step-up that waits for the next authorization; `None` when none does.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stepped_up(&self, key: &ConnectionKey) -> Result<Option<Scopes>, Fault> {
        let Some(row) = self.row(key).await? else { return Ok(None) };
        let waiting = self.demands(row.id).await?.waiting(self.clock.now());
        Ok(waiting.map(|waiting| waiting.union(&scopes_of(&row))))
    }

    /// Somebody came back from the upstream. `settled`: with its answer, whatever that is, and not with its trouble.
    pub(super) async fn step_up_answered(&self, key: &ConnectionKey, settled: bool) {
        let answered = async {
            let Some(row) = self.row(key).await? else { return Ok(()) };
            let mut demands = self.demands(row.id).await?;
            if demands.answer(settled, self.clock.now()) {
                self.store.put_step_ups(row.id, &demands.to_json()?).await?;
            }
            Ok::<(), Fault>(())
        };
        if let Err(fault) = answered.await {
            tracing::error!(target = %key.target, %fault, "the answer to a step-up could not be recorded");
        }
    }

    async fn demands(&self, id: ConnectionId) -> Result<Demands, Fault> {
        Ok(self.store.step_ups(id).await?.map_or_else(Demands::default, |text| Demands::from_json(&text)))
    }
}

/// What the upstream granted.
fn scopes_of(row: &Connection) -> Scopes {
    Scopes::lenient(row.scope.split(' ')).without(OFFLINE_ACCESS)
}
