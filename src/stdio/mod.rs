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
mod table;
#[cfg(test)]
mod tests;
mod users;

pub use channel::{Channel, Ended, Ending};
pub use confine::intercept;

use crate::audit::Audit;
use crate::config::{self, Command, Sharing};
use crate::connect::ConnectionKey;
use crate::error::{Culprit, Fault};
use crate::hostname::{Account, Authority};
use crate::ids::UserId;
use crate::life::Life;
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;
use launch::Recipe;
use life::{Outcome, Why};
use lines::Writer;
use parking_lot::Mutex;
use spawner::Spawner;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use table::{Place, Running, Table};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use users::Users;

/// How many messages wait for a process, and how many of it for whoever reads them.
const WAITING: usize = 16;

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

impl<M: Send + Sync + 'static> Inner<M> {
    async fn start(
        self: &Arc<Self>,
        upstream: &Upstream,
        command: &Arc<Command>,
        key: Key,
        secrets: Vec<(String, Secret)>,
        make: impl FnOnce(Channel) -> M,
    ) -> Result<Attached<M>, Refused> {
        let place = self.place(upstream, &key).await?;
        let home = self.directory.join(key.directory(upstream));
        let recipe = Recipe { program: command, home: &home, secrets: &secrets, launcher: &self.settings.launcher };
        let spawned = match recipe.prepare() {
            Ok(prepared) => self.spawner()?.start(prepared).await,
            Err(error) => Err(error),
        };
        let (child, group) = spawned.map_err(|error| {
            let ending = Ending::new("it could not be started", &error.to_string());
            self.table.lock().failed(&key, Duration::ZERO, ending.clone(), &self.pace);
            tracing::warn!(upstream = %upstream.authority, program = command.name(), %error, "it cannot be started");
            refused(upstream, &ending, None)
        })?;
        let number = child.id().unwrap_or_default();
        self.metrics.stdio_starts.inc();
        self.metrics.stdio_processes.inc();
        self.record("process.started", &place, command, number);
        let (outgoing, messages) = mpsc::channel(WAITING);
        let (incoming, received) = mpsc::channel(WAITING);
        let (tell, told) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let users = Arc::new(Users::one());
        let secret_values = command.secrets.iter().chain(&secrets).map(|(_, secret)| secret.clone()).collect();
        let life = life::Life {
            child,
            group,
            outgoing: messages,
            incoming,
            users: users.clone(),
            told,
            writer: Arc::new(Writer { upstream: key.upstream.to_string(), process: number, secrets: secret_values }),
            idle: command.idle,
            longest: usize::try_from(self.settings.max_message).unwrap_or(usize::MAX),
            pace: self.pace.clone(),
        };
        let shared = Arc::new(make(Channel { outgoing, incoming: received, ended: Ended(ended.clone()) }));
        let running = Running {
            key,
            command: command.clone(),
            secrets,
            shared,
            users,
            tell,
            ended: Ended(ended),
            minded: AtomicBool::new(false),
        };
        let running = Arc::new(running);
        self.table.lock().insert(running.clone());
        tokio::spawn(self.clone().accompany(life, place, end, Arc::downgrade(&running)));
        Ok(Attached { running })
    }

    /// Lives the life of a process, and forgets it.
    async fn accompany(
        self: Arc<Self>,
        life: life::Life,
        place: Place<M>,
        end: watch::Sender<Option<Ending>>,
        running: std::sync::Weak<Running<M>>,
    ) {
        let (began, group, number) = (Instant::now(), life.group, life.writer.process);
        let (outcome, ending) = life.run().await;
        if let Some(spawner) = self.spawner.get() {
            spawner.ended(group);
        }
        self.metrics.stdio_processes.dec();
        let (upstream, why) = (place.key().upstream.to_string(), &ending.private);
        {
            let mut table = self.table.lock();
            table.remove(place.key(), &running);
            match outcome {
                Outcome::Asked => {
                    self.metrics.stdio_ended.inc();
                    tracing::info!(target: "stdio", upstream, process = number, why, "the process has ended");
                }
                Outcome::Failed => {
                    self.metrics.stdio_failed.inc();
                    table.failed(place.key(), began.elapsed(), ending.clone(), &self.pace);
                    tracing::warn!(target: "stdio", upstream, process = number, why, "the process has failed");
                }
            }
        }
        drop(place);
        end.send_replace(Some(ending));
    }

    /// A place for one more process. One that nobody uses gives way.
    async fn place(self: &Arc<Self>, upstream: &Upstream, key: &Key) -> Result<Place<M>, Refused> {
        loop {
            let to_leave = {
                let mut table = self.table.lock();
                if table.is_closed() {
                    return Err(Fault::busy("the gateway stops, and starts no more programs").into());
                }
                if let Some((wait, ending)) = table.waiting(key) {
                    return Err(refused(upstream, ending, Some(wait)));
                }
                match table.crowd(key, &self.settings) {
                    None => return Ok(Place::take(self, &mut table, key)),
                    Some(crowd) => table.least_used(&crowd).ok_or_else(|| too_many(upstream))?,
                }
            };
            to_leave.stop(Why::Room);
            to_leave.gone().await;
        }
    }

    fn spawner(&self) -> Result<&Spawner, Fault> {
        if let Some(spawner) = self.spawner.get() {
            return Ok(spawner);
        }
        let made = Spawner::new(self.settings.launcher.clone()).map_err(Fault::gateway)?;
        Ok(self.spawner.get_or_init(|| made))
    }

    fn record(&self, action: &'static str, place: &Place<M>, command: &Command, number: u32) {
        let key = place.key();
        let person = key.person.as_ref().map(|(user, _)| user.to_string());
        let (person, program) = (person.as_deref().unwrap_or("everybody"), command.name());
        tracing::info!(target: "stdio", upstream = %key.upstream, process = number, program, person, "started");
        if let Some(audit) = &self.audit {
            let subject = format!("{program} of {} for {person}", key.upstream);
            audit.record("system", action, &subject, None);
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

/// What is said while a program is not started again.
fn refused(upstream: &Upstream, ending: &Ending, wait: Option<Duration>) -> Refused {
    let name = &upstream.name;
    let when = wait.map(|wait| format!("; it is started again in {} s", wait.as_secs() + 1)).unwrap_or_default();
    let fault = Fault {
        culprit: Culprit::Upstream,
        public: format!("the program of {name} has failed: {}{when}", ending.public).into(),
        private: format!("the program of {name} has failed: {}{when}", ending.private),
    };
    Refused { fault, retry_after: wait }
}

fn too_many(upstream: &Upstream) -> Refused {
    let private = format!("no more processes for {}: see stdio.max_processes", upstream.authority);
    let public = "as many programs run as may run at once: try again later".into();
    Refused { fault: Fault { culprit: Culprit::Busy, public, private }, retry_after: None }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after: None }
    }
}
