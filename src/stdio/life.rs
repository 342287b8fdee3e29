//! One process from its start to its end. Whatever ends it, its whole group ends, nobody stays a zombie, and those who use it are
//! told why.

use super::framing::{self, Input, Output};
use super::lines::{Lines, Writer};
use super::users::Users;
use super::{Ending, Pace};
use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, sleep, timeout};

/// How long what a program wrote last is waited for once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long killed processes need to end.
const SHORTLY: Duration = Duration::from_millis(5);

/// A process that has been started.
pub(super) struct Life {
    pub(super) child: Child,
    pub(super) group: Pid,
    pub(super) outgoing: mpsc::Receiver<Bytes>,
    pub(super) incoming: mpsc::Sender<Bytes>,
    pub(super) users: Arc<Users>,
    /// Becomes the reason for which it is to be ended.
    pub(super) told: watch::Receiver<Option<Why>>,
    pub(super) writer: Arc<Writer>,
    pub(super) idle: Option<Duration>,
    pub(super) longest: usize,
    pub(super) pace: Pace,
}

/// Why we end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody used it.
    Idle,
    /// Whoever has its channel let it go.
    Released,
    /// Its configuration or its secrets are others now.
    Changed,
    /// Nobody may use it any longer.
    Forbidden,
    /// The place is needed.
    Room,
    /// The gateway stops.
    Stopping,
}

/// How it came to an end.
pub(super) enum Outcome {
    /// We ended it.
    Asked,
    /// It ended by itself, or did what no MCP server does.
    Failed,
}

/// What happens first.
enum Event {
    Exited(Option<ExitStatus>),
    Output(Output),
    Input(Input),
    Asked(Why),
}

impl Life {
    /// Lives it.
    pub(super) async fn run(self) -> (Outcome, Ending) {
        let Life { mut child, group, mut outgoing, incoming, users, mut told, writer, idle, longest, pace } = self;
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes(&mut child) else {
            return (Outcome::Failed, Ending::new("it has no standard input and output", ""));
        };
        let mut garbage = Lines::new(writer.clone(), "standard output");
        let mut complaints = Lines::new(writer, "standard error");
        let log = tokio::spawn(async move {
            complaints.follow(stderr).await;
            complaints.last
        });
        let mut read = Box::pin(framing::read(stdout, incoming, longest, &mut garbage));
        let mut write = Box::pin(framing::write(stdin, &mut outgoing, pace.patience));
        let mut is_read = false;
        let event = tokio::select! { biased;
            asked = told.wait_for(Option::is_some) => Event::Asked(asked.ok().and_then(|why| *why).unwrap_or(Why::Stopping)),
            status = child.wait() => Event::Exited(status.ok()),
            output = &mut read => {
                is_read = true;
                Event::Output(output)
            }
            input = &mut write => Event::Input(input),
            () = users.idle(idle) => Event::Asked(Why::Idle),
        };
        users.close();
        // Its standard input ends here.
        drop(write);
        let end = End { group, pace: &pace };
        let finish = async {
            match &event {
                Event::Exited(status) => *status,
                Event::Output(Output::Misbehaved(_)) | Event::Input(Input::Stuck(_)) => end.now(&mut child).await,
                Event::Output(_) | Event::Input(_) | Event::Asked(_) => end.in_good_order(&mut child).await,
            }
        };
        // It may have much to say before it ends.
        let status = if is_read { finish.await } else { while_reading(finish, &mut read, &mut is_read).await };
        end.the_rest().await;
        if !is_read {
            let _ = timeout(LAST_WORDS, &mut read).await;
        }
        drop(read);
        let mut log = log;
        let last_line = match timeout(LAST_WORDS, &mut log).await {
            Ok(last) => last.unwrap_or_default(),
            Err(_) => {
                // Something that left the group holds the pipe.
                log.abort();
                String::new()
            }
        };
        let last_line = if last_line.is_empty() { garbage.last } else { last_line };
        let (outcome, text) = told_as(event, status);
        (outcome, Ending::new(&text, &last_line))
    }
}

/// What became of it, in words that follow "it".
fn told_as(event: Event, status: Option<ExitStatus>) -> (Outcome, String) {
    let why = match event {
        Event::Asked(why) => why,
        Event::Input(Input::Released) => Why::Released,
        Event::Output(Output::Unwanted) => Why::Released,
        Event::Output(Output::Misbehaved(text)) | Event::Input(Input::Stuck(text)) => {
            return (Outcome::Failed, format!("it {text}"));
        }
        Event::Exited(_) | Event::Output(Output::Closed) | Event::Input(Input::Closed) => {
            return (Outcome::Failed, status.map_or_else(|| "it ended".to_owned(), describe));
        }
    };
    let text = match why {
        Why::Idle => "nobody used it",
        Why::Released => "it was let go",
        Why::Changed => "its configuration or its secrets changed",
        Why::Forbidden => "nobody may use it any longer",
        Why::Room => "others needed its place",
        Why::Stopping => "the gateway stops",
    };
    (Outcome::Asked, text.to_owned())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with status {code}"),
        (None, Some(9)) => "it was killed (signal 9): by somebody, or because memory ran out".to_owned(),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

fn pipes(child: &mut Child) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
    (child.stdin.take(), child.stdout.take(), child.stderr.take())
}

async fn while_reading<T>(
    finish: impl Future<Output = T>,
    read: &mut (impl Future<Output = Output> + Unpin),
    is_read: &mut bool,
) -> T {
    tokio::pin!(finish);
    tokio::select! { biased;
        done = &mut finish => return done,
        _ = read => *is_read = true,
    }
    finish.await
}

/// The end of a process and of its group.
struct End<'a> {
    group: Pid,
    pace: &'a Pace,
}

impl End<'_> {
    /// Its input has ended, which asks it to end (MCP 2026-07-28, stdio, Shutdown); then SIGTERM, then SIGKILL.
    async fn in_good_order(&self, child: &mut Child) -> Option<ExitStatus> {
        match timeout(self.pace.grace, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => self.now(child).await,
        }
    }

    /// SIGTERM, then SIGKILL.
    async fn now(&self, child: &mut Child) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        if let Ok(status) = timeout(self.pace.grace, child.wait()).await {
            return status.ok();
        }
        self.signal(Signal::KILL);
        child.wait().await.ok()
    }

    /// What it has started and left behind.
    async fn the_rest(&self) {
        self.signal(Signal::KILL);
        // Orphans become ours where we are the first process of a container. Elsewhere there are none.
        let reap = async {
            while let Ok(status) = waitpgid(self.group, WaitOptions::NOHANG) {
                if status.is_none() {
                    sleep(SHORTLY).await;
                }
            }
        };
        // One that a debugger holds, or that hangs in the kernel, is not waited for.
        let _ = timeout(LAST_WORDS, reap).await;
    }

    fn signal(&self, signal: Signal) {
        // Fails when nobody is left.
        let _ = kill_process_group(self.group, signal);
    }
}
