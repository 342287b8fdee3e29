//! How a process comes to be: a place for it, the program itself, its channel; and what is left of it when it has ended.

use super::launch::Recipe;
use super::life::{Life, Outcome, Why};
use super::lines::Writer;
use super::spawner::Spawner;
use super::table::{Place, Running};
use super::users::Users;
use super::{Attached, Channel, Ended, Ending, Inner, Key, Refused};
use crate::config::Command;
use crate::error::{Culprit, Fault};
use crate::secret::Secret;
use crate::upstream::Upstream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How many messages wait for a process, and how many of it for whoever reads them.
pub(super) const WAITING: usize = 16;

impl<M: Send + Sync + 'static> Inner<M> {
    pub(super) async fn start(
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
        let life = Life {
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
        life: Life,
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
