//! What runs beside the requests.

use super::App;
use super::follow::{Bounds, Follower};
use crate::error::Fault;
use crate::ratelimit::SETTLE_EVERY;
use crate::store::AuditLink;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often what has expired is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How often connections are counted.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// How often programs are looked for that may not be used any longer.
const PROGRAMS_EVERY: Duration = Duration::from_millis(500);

impl App {
    /// Everything that runs beside the requests, until `stopping`.
    pub fn background(self: Arc<Self>, stopping: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let bounds = if self.config().store.is_shared() { Bounds::NETWORK } else { Bounds::FILE };
        let listener = self.listener.lock().take();
        vec![
            tokio::spawn(self.connections.clone().keep_fresh(stopping.clone())),
            tokio::spawn(Follower::after(self.position.clone(), bounds).run(self.clone(), listener)),
            tokio::spawn(self.clone().share_limits()),
            tokio::spawn(self.connections.clone().part(self.audit.clone(), stopping.clone())),
            tokio::spawn(self.clone().leave_programs()),
            tokio::spawn(self.clone().count_connections()),
            tokio::spawn(self.certificates.clone().keep(stopping.clone())),
            tokio::spawn(self.overload.clone().watch()),
            tokio::spawn(self.clone().beat(stopping.clone())),
            tokio::spawn(self.sweep()),
        ]
    }

    /// Settles with other nodes what was let through, where limits are shared.
    async fn share_limits(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SETTLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_trouble = false;
        while self.limits().is_shared() {
            ticks.tick().await;
            let settled = self.limits().settle(&self.store).await;
            if let (Err(error), false) = (&settled, in_trouble) {
                tracing::warn!(%error, "limits are not shared with other nodes until the database works again");
            }
            in_trouble = settled.is_err();
        }
    }

    /// Ends programs that were taken out of the configuration, or whose person may not use them any longer.
    async fn leave_programs(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PROGRAMS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = self.registry.generation();
        loop {
            ticks.tick().await;
            let generation = self.registry.generation();
            if std::mem::replace(&mut known, generation) != generation {
                self.programs.keep_only(|upstream, person| match person {
                    Some(person) => self.registry.may_use(person, upstream),
                    None => self.registry.by_authority(upstream).is_some_and(|found| found.kind.command().is_some()),
                });
            }
        }
    }

    /// Says in the metrics how many connections there are, and how many of them need their person.
    async fn count_connections(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A database that is away is told of elsewhere.
            if let Ok(counts) = self.store.count_connections().await {
                self.metrics.connections_stand(&counts);
            }
        }
    }

    async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        let mut told = None;
        loop {
            ticks.tick().await;
            self.sweep_once(&mut told).await;
        }
    }

    /// Removes what has expired; `told` is the head of the audit log that was told of last.
    pub(super) async fn sweep_once(&self, told: &mut Option<AuditLink>) {
        let now = self.clock.now();
        let memory = self.tokens.memory();
        let swept = async {
            self.store.sweep(now, memory, self.config().registration.unused_ttl).await?;
            for (realm, client) in self.store.expired_clients(now).await? {
                // Another node may have been faster.
                if self.revocations.client(Some(&realm), &client).await?.is_some() {
                    self.audit.record("system", "client.expired", &client, None);
                }
            }
            self.sessions.sweep().await?;
            self.store.sweep_limits().await?;
            self.activity.sweep().await?;
            self.store.sweep_audit(now.before(self.config().audit.keep)).await?;
            let head = self.store.audit_head().await?;
            if let Some(link) = head.filter(|_| head != std::mem::replace(told, head)) {
                // Kept with the log elsewhere, it holds the database to what it has said until now.
                tracing::info!(target: "audit", head = %link, "the chain of the audit log");
            }
            let mut irrelevant = self.lives.ended();
            for grant in self.store.grants_revoked_since(now.before(memory)).await? {
                irrelevant.remove(&grant);
            }
            self.lives.sweep(&irrelevant);
            if let Some(kid) = self.keys.maintain(&self.config().tokens).await? {
                self.audit.record("system", "key.published", &kid, None);
            }
            Ok::<(), Fault>(())
        };
        if let Err(fault) = swept.await {
            tracing::error!(%fault, "what has expired could not be removed");
        }
        // While this process seals with a key, `vault rewrap` must not take it for one that nobody needs.
        if let Err(fault) = self.vault.check(&self.store).await {
            tracing::error!(%fault, "the vault's keys do not fit the database any more");
        }
        self.tokens.sweep();
        self.connections.sweep();
        self.unified.sweep().await;
        self.limits().sweep();
    }
}
