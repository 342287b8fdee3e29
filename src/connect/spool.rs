//! Answers of token endpoints on their way to the database: one file each in a directory of this machine.
//!
//! A server that rotates gives the next refresh token once. So its answer is on the disk before anything else can go wrong:
//! a database that is full, locked, or out of reach. A file is sealed by the vault for its own name, so one that was
//! half written, changed or moved does not open. The directory also has a lock file for every process that uses it, by
//! which the others see that it lives.

use super::Connections;
use super::answers::Answer;
use crate::error::Fault;
use crate::ids::Random;
use crate::vault::Place;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How many answers may wait. Each is a connection whose database write has not succeeded yet.
const MOST: usize = 10_000;
/// The largest file that is read; an answer of a token endpoint is smaller.
const LARGEST: u64 = 4 << 20;
/// What does not open and is younger than this may be a file that somebody is just writing.
const BEING_WRITTEN: Duration = Duration::from_secs(30);
const ANSWER: &str = ".answer";
const ALIVE: &str = ".alive";
/// Before the lock is taken.
const STARTING: &str = ".starting";
/// Of a process whose mark was found unlocked; kept until none of its leases can last.
const DEAD: &str = ".dead";
const REMEMBERED: Duration = Duration::from_secs(120);
/// The setting that holds a name of this database.
const INSTALLATION: &str = "spool.installation";
/// Where files go that are not ours, or not whole.
const ASIDE: &str = "set-aside";

/// The directory, and this process in it.
#[derive(Debug)]
pub(super) struct Spool {
    /// `None` for a database in memory: nothing is kept.
    directory: Option<PathBuf>,
    /// Begins the names of answers, so that two databases that share a directory by mistake leave each other's alone.
    installation: OnceLock<String>,
    /// The name of this process as the holder of leases; another one at every start.
    holder: String,
    alive: Mutex<Option<File>>,
    /// What was complained about already.
    told: Mutex<HashSet<PathBuf>>,
}

/// A file whose content may not be on the disk yet.
pub(super) struct Written {
    file: File,
    directory: PathBuf,
}

impl Spool {
    /// Nothing is made yet.
    pub(super) fn new(directory: Option<PathBuf>, random: &Random) -> Self {
        let holder = HEXLOWER.encode(&random.bytes::<16>());
        Self { directory, installation: OnceLock::new(), holder, alive: Mutex::default(), told: Mutex::default() }
    }

    /// By what name leases are held.
    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// Makes the directory and shows that this process lives, once.
    pub(super) fn open(&self) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let mut alive = self.alive.lock();
        if alive.is_some() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(format!("{}{STARTING}", self.holder));
        let file = private().open(&path)?;
        match file.try_lock() {
            // Only now do others look at it.
            Ok(()) => {
                fs::rename(&path, directory.join(format!("{}{ALIVE}", self.holder)))?;
                *alive = Some(file);
            }
            Err(error) => {
                tracing::warn!(
                    directory = %directory.display(),
                    %error,
                    "files cannot be locked in the spool: after a crash, leases of this process last until they expire"
                );
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Whether the holder of a lease was a process of this machine that has ended: the system takes its lock away however
    /// it ends. A process of another machine has no file here, and nothing is known about it.
    pub(super) fn has_died(&self, holder: &str) -> bool {
        let Some(directory) = &self.directory else { return false };
        if holder == self.holder || !holder.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        let alive = directory.join(format!("{holder}{ALIVE}"));
        File::open(alive).is_ok_and(|file| file.try_lock().is_ok())
            || directory.join(format!("{holder}{DEAD}")).exists()
    }

    /// Writes a new file; `None` when nothing is kept here.
    pub(super) fn write(&self, name: &str, sealed: &[u8]) -> io::Result<Option<Written>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if self.answers()?.len() >= MOST {
            return Err(io::Error::other(format!("{MOST} answers are waiting in it already")));
        }
        let path = self.path(directory, name)?;
        let mut file = private().create_new(true).open(&path)?;
        if let Err(error) = file.write_all(sealed) {
            // What is not whole is in the way only.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Some(Written { file, directory: directory.clone() }))
    }

    pub(super) fn remove(&self, name: &str) {
        let Some(directory) = &self.directory else { return };
        let Ok(path) = self.path(directory, name) else { return };
        // Not synced: a file that comes back after a loss of power is superseded.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %path.display(), %error, "a stored answer cannot be removed from the spool");
        }
    }

    /// The names and contents of those that wait and are `wanted`; what is not ours is set aside.
    pub(super) fn waiting(&self, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        let Some(directory) = &self.directory else { return Ok(found) };
        for name in self.answers()?.into_iter().filter(|name| wanted(name)) {
            let path = self.path(directory, &name)?;
            match fs::symlink_metadata(&path).map(|data| data.is_file() && data.len() <= LARGEST) {
                Ok(true) => match fs::read(&path) {
                    Ok(content) => found.push((name, content)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.tell_once(&path, &error.to_string()),
                },
                Ok(false) => self.set_aside(&name, "it is no file of ours"),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Puts a file away that does not open, unless somebody may be writing it.
    pub(super) fn set_aside(&self, name: &str, why: &str) {
        let Some(directory) = &self.directory else { return };
        let Ok(path) = self.path(directory, name) else { return };
        if age(&path).is_some_and(|age| age < BEING_WRITTEN) {
            return;
        }
        let aside = directory.join(ASIDE);
        let moved = DirBuilder::new().recursive(true).mode(0o700).create(&aside).and_then(|()| {
            let to = self.path(&aside, name)?;
            fs::rename(&path, &to).map(|()| to)
        });
        match moved {
            Ok(to) => tracing::error!(
                file = %to.display(),
                why,
                "an answer in the spool cannot be used and was set aside: the connection may need a new sign-in; with the \
                 vault key that sealed it in vault.previous_key_files, move the file back"
            ),
            Err(error) => self.tell_once(&path, &format!("{why}; it cannot be set aside: {error}")),
        }
    }

    /// Removes the marks of processes that have ended, and names what does not belong here.
    pub(super) fn tidy(&self) {
        let Some(directory) = &self.directory else { return };
        for name in self.names(ALIVE).unwrap_or_default() {
            if self.has_died(&name) && private().open(directory.join(format!("{name}{DEAD}"))).is_ok() {
                let _ = fs::remove_file(directory.join(format!("{name}{ALIVE}")));
            }
        }
        for ending in [DEAD, STARTING] {
            for name in self.names(ending).unwrap_or_default() {
                let path = directory.join(format!("{name}{ending}"));
                if age(&path).is_some_and(|age| age > REMEMBERED) {
                    let _ = fs::remove_file(path);
                }
            }
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ours = |name: &str| match name.strip_suffix(ANSWER) {
                Some(name) => self.own(name).is_some(),
                None => name == ASIDE || [ALIVE, DEAD, STARTING].iter().any(|end| name.ends_with(end)),
            };
            if !name.to_str().is_some_and(is_ours) {
                self.tell_once(&entry.path(), "it belongs to another database, or not to portcullis at all");
            }
        }
    }

    #[cfg(test)]
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    fn tell_once(&self, path: &Path, why: &str) {
        let mut told = self.told.lock();
        if told.len() < MOST && told.insert(path.to_owned()) {
            tracing::error!(file = %path.display(), why, "a file in the spool is left alone");
        }
    }

    /// The names of answers for this database.
    fn answers(&self) -> io::Result<Vec<String>> {
        Ok(self.names(ANSWER)?.iter().filter_map(|name| self.own(name)).map(str::to_owned).collect())
    }

    fn own<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.installation.get()?)?.strip_prefix('-')
    }

    fn path(&self, directory: &Path, name: &str) -> io::Result<PathBuf> {
        let installation = self.installation.get().ok_or_else(|| io::Error::other("it was not read yet"))?;
        Ok(directory.join(format!("{installation}-{name}{ANSWER}")))
    }

    /// The names of files with such an ending, without it.
    fn names(&self, ending: &str) -> io::Result<Vec<String>> {
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(ending)).map(str::to_owned));
        }
        Ok(names)
    }
}

impl Written {
    /// From now on a loss of power does not take it away.
    pub(super) fn sync(self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Since the last change of a file; `None` when it is gone, or of the future.
fn age(path: &Path) -> Option<Duration> {
    fs::symlink_metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

impl Connections {
    /// Seals an answer for its file.
    pub(super) fn seal_answer(&self, answer: &Answer) -> Result<Vec<u8>, Fault> {
        Ok(self.vault.seal(&place(&answer.name()), &answer.to_json()?))
    }

    /// Takes over what waits in the spool: at the start, and what another process of this machine left behind.
    ///
    /// # Errors
    /// When the database cannot be asked which answers are its own; a spool that cannot be used is told, and no error.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<(), Fault> {
        if self.spool.installation.get().is_none() {
            let _ = self.spool.installation.set(self.installation().await?);
        }
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            this.spool.open()?;
            this.spool.tidy();
            this.spool.waiting(|name| !this.answers.has(name))
        });
        let waiting = match read.await {
            Ok(Ok(waiting)) => waiting,
            Ok(Err(error)) => {
                tracing::error!(%error, "the spool cannot be used: see store.spool");
                return Ok(());
            }
            Err(error) => return Err(Fault::task(error)),
        };
        for (name, content) in waiting {
            let opened = self.vault.open(&place(&name), &content).map_err(|error| error.to_string());
            match opened
                .and_then(|json| Answer::from_json(&json).ok_or_else(|| "it holds something unknown".to_owned()))
            {
                Ok(answer) => {
                    tracing::info!(connection = %answer.connection, "an answer waits in the spool: it is stored now");
                    self.take_over(answer);
                }
                Err(why) => self.spool.set_aside(&name, &why),
            }
        }
        Ok(())
    }

    /// By what name answers for this database are known, wherever it is moved.
    async fn installation(&self) -> Result<String, Fault> {
        let fresh = HEXLOWER.encode(&self.random.bytes::<8>());
        self.store.put_setting_if_absent(INSTALLATION, fresh.as_bytes()).await?;
        let kept = self.store.setting(INSTALLATION).await?.and_then(|name| String::from_utf8(name).ok());
        kept.ok_or_else(|| Fault::gateway(format!("the setting {INSTALLATION} is damaged")))
    }
}

fn place(name: &str) -> Place<'_> {
    Place { table: "spool", row: name, column: "answer", person: "", upstream: "" }
}

#[cfg(test)]
mod tests;
