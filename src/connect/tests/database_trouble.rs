//! A database that is locked or full, and a spool that is full, damaged, or somebody else's.

use super::crashing::{run, said};
use super::node::{Installation, Node};
use super::rotator::{Replay, Rotator};
use super::*;
use crate::checkpoints::Step;
use crate::store::testing::postgres::Cluster;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tokio::sync::Semaphore;

struct Place {
    rotator: Arc<Rotator>,
    installation: Installation,
    node: Node,
    spool: PathBuf,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let rotator = Rotator::start(Replay::Fatal).await;
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/portcullis.db", directory.path().display());
        let installation = Installation::new(url, &rotator.authority);
        let spool = directory.path().join("spool");
        let node = installation.open(Some(&spool)).await;
        node.connect(0).await;
        Self { rotator, installation, node, spool, directory }
    }

    /// Somebody else holds the write lock until this is dropped.
    async fn locked(&self) -> sqlx::SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("portcullis.db"));
        let mut other = options.connect().await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        other
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.spool).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "answer")).collect();
        files.sort();
        files
    }

    /// Refreshes while the database is locked from the answer on; the answer is in the spool then.
    async fn refreshed_while_locked(&self) -> sqlx::SqliteConnection {
        let (answered, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let gates = (answered.clone(), go_on.clone());
        self.node.at_each_step(Box::new(move |step| {
            let (answered, go_on) = gates.clone();
            Box::pin(async move {
                if step == Step::Answered {
                    answered.add_permits(1);
                    go_on.acquire().await.unwrap().forget();
                }
            })
        }));
        let lock = async {
            answered.acquire().await.unwrap().forget();
            let lock = self.locked().await;
            go_on.add_permits(1);
            lock
        };
        let (credential, lock) = tokio::join!(self.node.credential(), lock);
        assert_eq!(bearer(&credential.unwrap()), "Bearer at-1");
        lock
    }
}

/// SQLITE_BUSY before the intent: nothing is asked of the server. Afterwards: nothing is lost, and requests are served.
#[tokio::test]
async fn a_locked_database_loses_nothing() {
    let place = Place::new().await;
    let lock = place.locked().await;
    let Err(NoCredential::Failed(fault)) = place.node.credential().await else { panic!("it is locked") };
    assert!(fault.private.contains("locked"), "{fault}");
    assert_eq!(place.rotator.calls(), 0, "no call without a durable intent");
    drop(lock);

    let lock = place.refreshed_while_locked().await;
    let files = place.files();
    assert_eq!((files.len(), place.node.row().await.version), (1, 1));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&files[0]), mode(&place.spool)), (0o600, 0o700));
    let content = fs::read(&files[0]).unwrap();
    assert!(!content.windows(4).any(|part| part == b"rt-1" || part == b"at-1"));
    // Whatever is forgotten meanwhile, the answer is not.
    place.node.connections.forget(place.node.row().await.id);
    assert_eq!(bearer(&place.node.credential().await.unwrap()), "Bearer at-1");
    drop(lock);
    place.node.connections.settle().await;
    assert_eq!((place.node.stored().await.0.as_str(), place.files().len()), ("rt-1", 0));
    assert_eq!(place.rotator.calls(), 1);
}

/// The process ends while the database is locked: the next one finds the answer.
#[tokio::test]
async fn what_the_database_did_not_take_is_in_the_spool_for_the_next_process() {
    let place = Place::new().await;
    let lock = place.refreshed_while_locked().await;
    let patience = tokio::time::timeout(Duration::from_secs(60), place.node.connections.settle());
    patience.await.expect("what is on the disk is not waited for");
    drop(lock);
    let next = place.installation.open(Some(&place.spool)).await;
    assert_eq!(bearer(&next.credential().await.unwrap()), "Bearer at-1");
    next.connections.settle().await;
    assert_eq!(next.stored().await.0, "rt-1");
    assert_eq!(place.rotator.calls(), 1);
}

/// PostgreSQL is killed while the server is answering, is gone for a while, and comes back.
#[tokio::test]
async fn a_killed_postgresql_loses_nothing() {
    let cluster = Cluster::start(true);
    let rotator = Rotator::start(Replay::Fatal).await;
    let installation = Installation::new(cluster.empty().await, &rotator.authority);
    let spool = tempfile::tempdir().unwrap();
    let node = installation.open(Some(spool.path())).await;
    node.connect(0).await;
    let cluster = Arc::new(cluster);
    let killed = cluster.clone();
    node.at_each_step(Box::new(move |step| {
        if step == Step::Answered {
            killed.kill();
        }
        Box::pin(std::future::ready(()))
    }));
    assert_eq!(bearer(&node.credential().await.unwrap()), "Bearer at-1");
    let waiting = || fs::read_dir(spool.path()).unwrap().flatten().filter(is_answer).count();
    assert_eq!(waiting(), 1);
    node.clock.advance(Duration::from_secs(7200));
    assert!(node.credential().await.is_err());
    assert_eq!(rotator.calls(), 1, "no call without a durable intent");

    node.connections.checkpoints.at_each_step(None);
    cluster.start_again().await;
    node.connections.answers.settled(Duration::from_secs(60)).await;
    assert_eq!((node.stored().await.0.as_str(), node.row().await.version, waiting()), ("rt-1", 2, 0));
    assert_eq!(bearer(&node.credential().await.unwrap()), "Bearer at-2");
    assert_eq!((rotator.calls(), rotator.refusals()), (2, 0));
}

fn is_answer(file: &fs::DirEntry) -> bool {
    file.file_name().to_string_lossy().ends_with(".answer")
}

/// The disk of the database is full, then the one of the spool, too, in a process of its own (`RLIMIT_FSIZE`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let place = Place::new().await;
    let output = run(&place.installation, &place.spool, serde_json::json!({ "do": "fill the disk" })).await;
    let expected = [
        "without room: failed",
        "database full: at-1, version 1, 1 in the spool",
        "with room: rt-1, version 2, 0 in the spool",
        "both full: at-2, version 2, 0 in the spool",
        "with room: rt-2, version 3, 0 in the spool",
    ];
    assert_eq!(said(&output), expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((place.rotator.calls(), place.rotator.refusals()), (2, 0));
}

/// The child's part of it.
pub(super) async fn fill_the_disk(node: Node) {
    // Otherwise the signal ends the process before the write can fail.
    let _ignored = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
    let directory = node.connections.spool.directory().unwrap().to_owned();
    let waiting = || {
        let files = fs::read_dir(&directory).into_iter().flatten().flatten();
        files.filter(is_answer).count()
    };
    node.connections.adopt().await.unwrap();
    limit(Some(0));
    let failed = matches!(node.credential().await, Err(NoCredential::Failed(_)));
    limit(None);
    println!("said: without room: {}", if failed { "failed" } else { "it went on" });

    for (room, state) in [(8192, "database full"), (0, "both full")] {
        node.at_each_step(Box::new(move |step| {
            if step == Step::Answered {
                limit(Some(room));
            }
            Box::pin(std::future::ready(()))
        }));
        let credential = node.credential().await.unwrap();
        let token = credential.access_token().unwrap();
        println!("said: {state}: {token}, version {}, {} in the spool", node.row().await.version, waiting());
        limit(None);
        node.connections.settle().await;
        let (token, version) = (node.stored().await.0, node.row().await.version);
        println!("said: with room: {token}, version {version}, {} in the spool", waiting());
        node.clock.advance(Duration::from_secs(7200));
    }
}

/// No file may become larger than that. The hard limit stays.
fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

/// Damaged files, renamed ones, and those of another vault are put away; what somebody may be writing is left alone.
#[tokio::test]
async fn what_is_not_ours_is_set_aside() {
    let place = Place::new().await;
    let lock = place.refreshed_while_locked().await;
    let genuine = place.files().remove(0);
    let installation = genuine.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
    let beside = |name: &str| place.spool.join(format!("{installation}-{name}.answer"));
    let renamed = beside(&format!("{}-1-9", place.node.row().await.id));
    fs::copy(&genuine, &renamed).unwrap();
    let cut = beside("cut");
    fs::write(&cut, &fs::read(&genuine).unwrap()[..50]).unwrap();
    let (young, foreign) = (beside("young"), place.spool.join("0011223344556677-cut.answer"));
    fs::write(&young, "").unwrap();
    fs::copy(&cut, &foreign).unwrap();
    fs::create_dir(beside("directory")).unwrap();
    fs::write(place.spool.join("README"), "").unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1);
    for path in [&renamed, &cut, &foreign] {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    drop(lock);

    let next = place.installation.open(Some(&place.spool)).await;
    next.connections.adopt().await.unwrap();
    next.connections.settle().await;
    place.node.connections.settle().await;
    assert_eq!(place.node.stored().await.0, "rt-1");
    let aside = |path: &PathBuf| place.spool.join("set-aside").join(path.file_name().unwrap()).exists();
    assert!(aside(&cut) && aside(&renamed) && !genuine.exists());
    assert!(young.exists() && foreign.exists() && place.spool.join("README").exists(), "what is not ours stays");
}

/// A disk that takes nothing, and a database that does: the answer goes there.
#[tokio::test]
async fn without_a_spool_the_database_is_enough() {
    let place = Place::new().await;
    fs::write(&place.spool, "a file where the directory should be").unwrap();
    assert_eq!(bearer(&place.node.credential().await.unwrap()), "Bearer at-1");
    assert_eq!(place.node.stored().await.0, "rt-1");
}
