//! MCP servers that are programs of this machine: started, watched and stopped by us, speaking over their standard input and
//! output (MCP, stdio transport). Only the configuration names them, never a request.

mod backoff;
mod channel;
mod confine;
mod framing;
mod keeper;
mod launch;
mod life;
mod lines;
mod spawner;
mod start;
mod table;
#[cfg(test)]
mod tests;
mod users;

pub use channel::{Channel, Ended, Ending};
pub use confine::intercept;

use crate::audit::Audit;
use crate::config::{self, Command, Sharing};
use crate::connect::ConnectionKey;
use crate::error::Fault;
use crate::hostname::{Account, Authority};
use crate::ids::UserId;
use crate::life::Life;
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;
use life::Why;
use parking_lot::Mutex;
use spawner::Spawner;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use table::{Running, Table};

/// All processes of all programs. `M` is what the user of this module puts on the channel of each: one value a process, shared
/// by everybody who uses that process. Cloning shares them.
pub struct Processes<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    settings: config::Stdio,
    pace: Pace,
    table: Mutex<Table<M>>,
    spawner: OnceLock<Spawner>,
    metrics: Arc<Metrics>,
    audit: Option<Audit>,
    /// Below which programs run.
    directory: PathBuf,
}

/// Somebody uses a process: as long as this is kept, the process is not ended for being idle. Keep it as long as a request is
/// under way or somebody listens, and for the life of a session whose state the program keeps.
pub struct Attached<M> {
    running: Arc<Running<M>>,
}

/// Why there is no process.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What happened.
    pub fault: Fault,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

/// How patient we are.
#[derive(Clone, Debug)]
struct Pace {
    /// Before a program that failed is started again; it doubles with each failure,
    pause: Duration,
    /// up to this,
    longest_pause: Duration,
    /// and begins anew after so long a life.
    healthy: Duration,
    /// For the end of a process whose input has ended, and again after SIGTERM.
    grace: Duration,
    /// For a process that does not read its input.
    patience: Duration,
}

/// Which process: whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    upstream: Authority,
    /// `None`: everybody's.
    person: Option<(UserId, Option<Account>)>,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            pause: seconds(1),
            longest_pause: seconds(60),
            healthy: seconds(60),
            grace: seconds(3),
            patience: seconds(30),
        }
    }
}

impl<M> Clone for Processes<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: Send + Sync + 'static> Processes<M> {
    /// None runs yet. Without `audit` starts are in the log alone.
    pub fn new(settings: config::Stdio, metrics: Arc<Metrics>, audit: Option<Audit>) -> Self {
        Self::with_pace(settings, metrics, audit, Pace::default())
    }

    fn with_pace(settings: config::Stdio, metrics: Arc<Metrics>, audit: Option<Audit>, pace: Pace) -> Self {
        let temporary = || std::env::temp_dir().join(format!("portcullis-stdio-{}", std::process::id()));
        let directory = settings.directory.clone().unwrap_or_else(temporary);
        let (table, spawner) = (Mutex::new(Table::default()), OnceLock::new());
        Self { inner: Arc::new(Inner { settings, pace, table, spawner, metrics, audit, directory }) }
    }

    /// Attaches to the process of a person, or to the one of everybody, as the upstream's `processes` says; starts it if need
    /// be, with `secrets` in its environment besides those of the configuration. A process whose secrets or configuration are
    /// others by now is ended, and another one takes its place. `make` is called once for each life of a process, with its
    /// channel, before anybody else gets hold of what it makes; it must not wait for messages.
    ///
    /// # Errors
    /// When the upstream is no program, when it cannot be started, when it ended too often of late (with the time), or when
    /// too many run.
    pub async fn attach(
        &self,
        upstream: &Upstream,
        whose: &ConnectionKey,
        secrets: Vec<(String, Secret)>,
        make: impl FnOnce(Channel) -> M,
    ) -> Result<Attached<M>, Refused> {
        let Some(command) = upstream.kind.command() else {
            return Err(Fault::gateway(format!("{} is no program", upstream.authority)).into());
        };
        let key = Key::of(upstream, command, whose);
        let gate = self.inner.table.lock().gate(&key, &self.inner.pace);
        // Others who want the same process wait here until it has been started.
        let _alone = gate.lock().await;
        loop {
            let running = self.inner.table.lock().running(&key);
            let Some(running) = running else { break };
            if running.fits(command, &secrets) && running.users.join() {
                return Ok(Attached { running });
            }
            running.stop(Why::Changed);
            running.gone().await;
        }
        self.inner.start(upstream, command, key, secrets, make).await
    }

    /// How many processes run.
    pub fn running(&self) -> usize {
        self.inner.table.lock().count()
    }

    /// Ends the processes that `may_go_on` does not want: the upstream, and whose they are (`None`: everybody's).
    pub fn keep_only(&self, may_go_on: impl Fn(&Authority, Option<UserId>) -> bool) {
        for running in self.inner.table.lock().all() {
            let person = running.key.person.as_ref().map(|(user, _)| *user);
            if !may_go_on(&running.key.upstream, person) {
                running.stop(Why::Forbidden);
            }
        }
    }

    /// Ends every process in good order, and starts no more.
    pub async fn stop(&self) {
        let all = self.inner.table.lock().close();
        all.iter().for_each(|running| running.stop(Why::Stopping));
        for running in all {
            running.gone().await;
        }
        if self.inner.settings.directory.is_none() {
            // Nothing is kept there; it may not even exist.
            let _ = tokio::fs::remove_dir_all(&self.inner.directory).await;
        }
    }
}

impl<M: Send + Sync + 'static> Attached<M> {
    /// What was made of its channel.
    pub fn shared(&self) -> &Arc<M> {
        &self.running.shared
    }

    /// Why it ended; until then it lives.
    pub fn ended(&self) -> Ended {
        self.running.ended.clone()
    }

    /// The process, for those who come back to it: knowing it does not keep it from being ended for being idle.
    pub fn place(&self) -> Process<M> {
        Process(Arc::downgrade(&self.running))
    }

    /// Ends the process of a person together with what the person uses it with: a secret that was changed or taken back, or the
    /// permission. Everybody's process goes on.
    pub fn end_with(&self, life: &Arc<Life>) {
        if self.running.key.person.is_none() || self.running.minded.swap(true, Ordering::Relaxed) {
            return;
        }
        let (life, running, mut ended) = (life.clone(), Arc::downgrade(&self.running), self.ended());
        tokio::spawn(async move {
            tokio::select! {
                () = life.ended() => {
                    if let Some(running) = running.upgrade() {
                        running.stop(Why::Changed);
                    }
                }
                _ = ended.wait() => {}
            }
        });
    }
}

/// One life of a process, as somebody knows it who does not use it.
pub struct Process<M>(std::sync::Weak<Running<M>>);

impl<M> Process<M> {
    /// Uses it again, unless it ends or has ended.
    pub fn attach(&self) -> Option<Attached<M>> {
        let running = self.0.upgrade()?;
        running.users.join().then(|| Attached { running })
    }
}

impl<M> Drop for Attached<M> {
    fn drop(&mut self) {
        self.running.users.leave();
    }
}

impl Key {
    fn of(upstream: &Upstream, command: &Command, whose: &ConnectionKey) -> Self {
        let person = match command.processes {
            Sharing::Person => Some((whose.user, whose.account.clone())),
            Sharing::Everybody => None,
        };
        Self { upstream: upstream.authority.clone(), person }
    }

    /// Where it runs, below the directory of all.
    fn directory(&self, upstream: &Upstream) -> PathBuf {
        let alias = upstream.alias.as_deref().unwrap_or(upstream.authority.as_str());
        let whose = match &self.person {
            None => "shared".to_owned(),
            Some((user, None)) => user.to_string(),
            Some((user, Some(account))) => format!("{user}-{}", account.as_str()),
        };
        [alias, &whose].iter().collect()
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after: None }
    }
}
