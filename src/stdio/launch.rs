//! How a program is started: with an argument vector, without a shell, in a process group and a directory of its own, and with
//! an environment that is made here. Nothing of our own environment gets in but `PATH`.

use super::confine;
use crate::config::{Command as Program, Launcher};
use crate::secret::Secret;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// What it takes to start one process.
pub(super) struct Recipe<'a> {
    pub(super) program: &'a Program,
    /// A directory of its own; it is made.
    pub(super) home: &'a Path,
    /// Of the person.
    pub(super) secrets: &'a [(String, Secret)],
    pub(super) launcher: &'a Launcher,
}

impl Recipe<'_> {
    /// Makes the directories, and the command.
    pub(super) fn prepare(&self) -> io::Result<Command> {
        let temporary = self.home.join("tmp");
        DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
        let mut command = self.launcher_command();
        command.env_clear();
        command.env("PATH", &self.program.search_path).env("LANG", "C.UTF-8");
        command.env("HOME", self.home).env("TMPDIR", &temporary);
        command.envs(self.program.env.iter().map(|(name, value)| (name, value)));
        command.envs(self.program.secrets.iter().chain(self.secrets).map(|(name, secret)| (name, secret.expose())));
        command.current_dir(self.program.cwd.as_deref().unwrap_or(self.home));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: signals of a terminal do not reach it, and ours reach what it starts.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }

    fn launcher_command(&self) -> Command {
        let Launcher::Confined(launcher) = self.launcher else {
            let mut command = Command::new(&self.program.program);
            command.args(&self.program.args);
            return command;
        };
        let mut command = Command::new(launcher);
        command.args(confine::arguments(self.program.memory)).arg(&self.program.program).args(&self.program.args);
        command
    }
}
