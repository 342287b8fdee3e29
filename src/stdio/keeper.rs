//! What ends the groups of programs when the gateway is gone without having ended them: killed, or out of memory. The kernel
//! ends the programs themselves then ([`super::confine`]), but not what they have started: `npx` and `uvx` start the server
//! proper. One small process of ours, for all programs, is told of every group; when its standard input ends, so do they.

use crate::config::Launcher;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::HashSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

/// What the executable is called with; nothing for people.
pub(super) const KEEP: &str = "stdio-keep";

/// The keeper as the gateway sees it. It is started with the first program.
#[derive(Default)]
pub(super) struct Keeper(Option<(Child, ChildStdin)>);

impl Keeper {
    /// Starts it if it does not run; whether it has just been started and knows no group yet.
    pub(super) fn start(&mut self, launcher: &Launcher) -> io::Result<bool> {
        let Launcher::Confined(launcher) = launcher else { return Ok(false) };
        if let Some((child, _)) = &mut self.0
            && child.try_wait()?.is_none()
        {
            return Ok(false);
        }
        let mut command = Command::new(launcher);
        command.arg(KEEP).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        self.0 = child.stdin.take().map(|stdin| (child, stdin));
        Ok(true)
    }

    /// Tells it of a group that begins.
    pub(super) fn add(&mut self, group: Pid) {
        self.tell('+', group);
    }

    /// Tells it of a group that has ended.
    pub(super) fn remove(&mut self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&mut self, sign: char, group: Pid) {
        if let Some((_, stdin)) = &mut self.0 {
            // One that is gone is started anew with the next program, and told of all.
            let _ = writeln!(stdin, "{sign}{}", group.as_raw_nonzero());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.0.take() {
            drop(stdin);
            let _ = child.wait();
        }
    }
}

/// The keeper itself: reads until the gateway is gone, then ends what it knows of.
pub(super) fn keep() -> ExitCode {
    let mut groups = HashSet::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Some((sign, number)) = line.split_at_checked(1) else { continue };
        let Some(group) = number.parse().ok().and_then(Pid::from_raw) else { continue };
        if sign == "+" {
            groups.insert(group)
        } else {
            groups.remove(&group)
        };
    }
    for group in groups {
        // Most are gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    ExitCode::SUCCESS
}
