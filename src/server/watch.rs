//! Notices that a file has changed: edited, replaced, or, as Kubernetes does it, at the other end of a symbolic link.
//! It looks at the files now and then instead of asking the system for events: those are about directories and links on
//! the way, and say nothing on network file systems.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often it looks. Twice the same is seen before it believes that whoever writes there has finished.
const PERIOD: Duration = Duration::from_millis(500);

/// Some files.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// When they were read.
    known: Vec<Stamp>,
    /// The last time somebody looked.
    last: Vec<Stamp>,
    ticks: Interval,
}

/// What tells one state of a file from another; `None` when it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Watch {
    /// Files that are about to be read.
    pub(super) fn over(files: &[PathBuf]) -> Self {
        let known = look(files);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { files: files.to_vec(), last: known.clone(), known, ticks }
    }

    /// Waits for a change. Can be dropped and called again.
    pub(super) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            let files = self.files.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || look(&files)).await else { continue };
            let settled = now == self.last;
            self.last = now;
            if settled && self.last != self.known {
                return;
            }
        }
    }

    /// To be called before the files are read again.
    pub(super) fn renew(&mut self) {
        self.known = look(&self.files);
        self.last.clone_from(&self.known);
    }

    /// Watches these files instead, which have just been read.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        if files != self.files {
            self.files = files.to_vec();
            self.renew();
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    async fn notices(watch: &mut Watch) {
        tokio::time::timeout(PERIOD * 10, watch.changed()).await.expect("the change was not noticed");
        watch.renew();
    }

    #[tokio::test]
    async fn edits_replacements_and_links_are_noticed_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("edited"), "one").unwrap();
        fs::create_dir(path("v1")).unwrap();
        fs::create_dir(path("v2")).unwrap();
        fs::write(path("v1/linked"), "one").unwrap();
        fs::write(path("v2/linked"), "one").unwrap();
        symlink("v1", path("current")).unwrap();
        let mut watch = Watch::over(&[path("edited"), path("current/linked"), path("missing")]);
        fs::write(path("edited"), "two").unwrap();
        notices(&mut watch).await;
        fs::write(path("new"), "two").unwrap();
        fs::rename(path("new"), path("edited")).unwrap();
        notices(&mut watch).await;
        symlink("v2", path("next")).unwrap();
        fs::rename(path("next"), path("current")).unwrap();
        notices(&mut watch).await;
        fs::write(path("missing"), "now it is there").unwrap();
        notices(&mut watch).await;
        assert!(tokio::time::timeout(PERIOD * 4, watch.changed()).await.is_err(), "nothing has changed");
    }
}
