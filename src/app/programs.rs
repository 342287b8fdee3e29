//! Programs end with the permission to use them.

use super::App;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked at whether permissions have changed: a program ends within a second of its permission.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl App {
    /// Ends processes of upstreams that are not configured any longer, and of people who may not use them, as long as it runs.
    pub(super) async fn mind_programs(self: Arc<Self>) {
        let mut seen = self.registry.generation();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.registry.generation();
            if now != std::mem::replace(&mut seen, now) {
                self.processes.keep_only(|upstream, person| match person {
                    Some(person) => self.registry.may_use(person, upstream),
                    None => self.registry.by_authority(upstream).is_some_and(|found| found.kind.command().is_some()),
                });
            }
        }
    }
}
