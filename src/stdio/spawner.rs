//! The thread that starts all programs. The kernel ties a program to the thread that started it
//! ([`super::confine`]), and threads of the runtime come and go.

use super::keeper::Keeper;
use crate::config::Launcher;
use rustix::process::Pid;
use std::collections::HashSet;
use std::io;
use std::sync::mpsc;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A way to the thread, which ends when this is dropped.
pub(super) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Start { command: Box<Command>, runtime: Handle, answer: oneshot::Sender<io::Result<(Child, Pid)>> },
    Ended(Pid),
}

/// What the thread works with.
struct Work {
    launcher: Launcher,
    keeper: Keeper,
    groups: HashSet<Pid>,
}

impl Spawner {
    pub(super) fn new(launcher: Launcher) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let mut work = Work { launcher, keeper: Keeper::default(), groups: HashSet::new() };
        let thread = std::thread::Builder::new().name("stdio-spawner".to_owned());
        thread.spawn(move || waiting.into_iter().for_each(|job| work.take(job)))?;
        Ok(Self { jobs })
    }

    /// Starts a process. Its group has the number of the process.
    pub(super) async fn start(&self, command: Command) -> io::Result<(Child, Pid)> {
        let (answer, started) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts programs is gone");
        let job = Job::Start { command: Box::new(command), runtime: Handle::current(), answer };
        self.jobs.send(job).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }

    /// Nothing of a group is left.
    pub(super) fn ended(&self, group: Pid) {
        // Without the thread there is no keeper either.
        let _ = self.jobs.send(Job::Ended(group));
    }
}

impl Work {
    fn take(&mut self, job: Job) {
        match job {
            Job::Start { mut command, runtime, answer } => {
                let _runtime = runtime.enter();
                // Whoever asked may have gone; then the process is killed with its handle.
                let _ = answer.send(self.start(&mut command));
            }
            Job::Ended(group) => {
                self.groups.remove(&group);
                self.keeper.remove(group);
            }
        }
    }

    fn start(&mut self, command: &mut Command) -> io::Result<(Child, Pid)> {
        if self.keeper.start(&self.launcher)? {
            self.groups.iter().for_each(|group| self.keeper.add(*group));
        }
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(|| io::Error::other("the process has no number"))?;
        self.groups.insert(group);
        self.keeper.add(group);
        Ok((child, group))
    }
}
