//! Another configuration for a gateway that runs.

use super::App;
use crate::config::{self, Config};
use crate::error::Fault;
use crate::proxy::{Authorities, Control};
use crate::vault::Vault;
use std::sync::Arc;

/// What a new configuration came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The parts that are different from now on.
    pub changed: Vec<&'static str>,
    /// The keys that stay as they are until the gateway is started again.
    pub needs_restart: Vec<&'static str>,
}

impl App {
    /// Puts another configuration in force, all of it or nothing. Requests and streams under way are not touched.
    ///
    /// # Errors
    /// When a certificate or a certificate authority cannot be read, or the store fails.
    pub async fn reload(&self, mut new: Config, control: &Control) -> Result<Reloaded, Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        let running = self.config();
        let needs_restart = new.keep_fixed(&running);
        let mut changed = new.changes(&running);
        // What can fail comes first.
        let certificates = self.certificates.prepare(&new.tls)?;
        let vault = self.other_keys(&new).await?;
        let clients = self.http.prepare(new.upstreams.ca_file.as_deref())?;
        self.tokens.outlast(new.tokens.access_ttl).await?;
        self.store.keep_group_sources(&new.login.provider_names()).await?;
        // Also when it is the same: somebody may have moved it away.
        self.audit.write_to(new.audit.file.as_deref()).await?;
        let in_force = new.in_force();
        let configured = std::mem::take(&mut new.upstream);
        let limited = self.registry.limited();
        if self.registry.reconfigure(&new.upstreams, configured).await? {
            changed.push("upstream");
            self.connections.forget_all();
            self.connections.leave_unusable_upstreams();
            self.connections.leave_relimited_upstreams(&limited);
        }
        if vault.is_some_and(|vault| self.vault.install(&vault)) {
            changed.push("vault");
        }
        if self.connections.services().reconfigure(std::mem::take(&mut new.service)) {
            changed.push("service");
            self.connections.forget_all();
            self.connections.leave_unusable_upstreams();
        }
        if self.connections.providers().reconfigure(&new.provider) {
            changed.push("provider");
        }
        let mut authorities = Authorities::Same;
        if let Some(clients) = clients {
            changed.push("upstreams.ca_file");
            self.http.install(clients);
            authorities = Authorities::Other;
        }
        if self.certificates.install(certificates).await? {
            changed.push("certificate");
        }
        if new.limits != running.limits {
            self.limits.store(Arc::new(self.limits().with_rates(&new.limits)));
        }
        // What the control groups allow may have changed without us.
        self.overload.allow(new.limits.memory);
        self.sessions.live_for(new.login.sessions);
        self.unified.reconfigure(&new.unified, &new.streams);
        self.aggregate.reconfigure(new.unified.clone(), self.limits());
        self.config.store(Arc::new(new));
        self.in_force.store(Arc::new(in_force));
        control.install(self.settings(), authorities);
        Ok(Reloaded { changed, needs_restart })
    }

    /// The keyring of a new configuration, if it fits the database. From then on the database knows which key seals.
    async fn other_keys(&self, new: &Config) -> Result<Option<Vault>, Fault> {
        // A token may take its time.
        let keys = new.vault.clone();
        let read = tokio::task::spawn_blocking(move || config::keyring_again(&keys)).await;
        let Some(vault) = read.map_err(Fault::task)?? else { return Ok(None) };
        vault.check(&self.store).await?;
        Ok(Some(vault))
    }
}
