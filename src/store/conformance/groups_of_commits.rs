//! Transactions of SQLite share commits: none is reported before it is durable, and none suffers from another.

use super::*;
use crate::store::database::Transaction;
use crate::store::database::{Database, query};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

async fn open(directory: &Path) -> Store {
    Store::open(&format!("sqlite://{}/portcullis.db", directory.display())).await.unwrap()
}

/// A transaction that has written one setting.
async fn writing(store: &Store, name: &str) -> Transaction {
    let mut transaction = store.database.transaction().await.unwrap();
    let insert = query("INSERT INTO settings (name, value) VALUES (?, ?)").bind(name).bind(&b""[..]);
    insert.execute(&mut transaction).await.unwrap();
    transaction
}

async fn groups(store: &Store) -> u64 {
    match &store.database {
        Database::Sqlite(pools) => pools.writer().groups().await,
        Database::Postgres(_) => panic!("not SQLite"),
    }
}

async fn is_there(store: &Store, name: &str) -> bool {
    store.setting(name).await.unwrap().is_some()
}

#[tokio::test]
async fn who_waits_shares_a_commit_and_who_fails_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.put_setting("taken", b"").await.unwrap();
    let before = groups(&store).await;
    let writers: Vec<_> = (0..100)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut transaction = writing(&store, &number.to_string()).await;
                match number % 3 {
                    0 => transaction.commit().await.unwrap(),
                    1 => drop(transaction),
                    _ => {
                        let insert = query("INSERT INTO settings (name, value) VALUES ('taken', ?)").bind(&b""[..]);
                        assert!(insert.execute(&mut transaction).await.is_err());
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for number in 0..100 {
        assert_eq!(is_there(&store, &number.to_string()).await, number % 3 == 0, "{number}");
    }
    let groups = groups(&store).await - before;
    assert!(groups < 20, "{groups} commits of 34 transactions");
}

#[tokio::test]
async fn nobody_sees_or_hears_of_it_before_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let first = writing(&store, "first").await;
    // Asks before the first one is done, so that it comes before the commit.
    let second = tokio::spawn({
        let store = store.clone();
        async move { writing(&store, "second").await }
    });
    tokio::task::yield_now().await;
    let first = tokio::spawn(first.commit());
    let second = second.await.unwrap();
    tokio::task::yield_now().await;
    assert!(!first.is_finished() && !is_there(&store, "first").await);
    drop(second);
    first.await.unwrap().unwrap();
    assert!(is_there(&store, "first").await && !is_there(&store, "second").await);
}

#[tokio::test]
async fn a_full_disk_fails_the_group_and_nothing_of_it_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let first = writing(&store, "first").await;
    let second = tokio::spawn({
        let store = store.clone();
        async move {
            let mut transaction = writing(&store, "second").await;
            query("PRAGMA max_page_count = 1").execute(&mut transaction).await.unwrap();
            let large = query("INSERT INTO settings (name, value) VALUES ('large', zeroblob(10000000))");
            large.execute(&mut transaction).await.err().unwrap().to_string()
        }
    });
    tokio::task::yield_now().await;
    let told = first.commit().await.err().unwrap().to_string();
    assert!(told.contains("full") && second.await.unwrap().contains("full"), "{told}");
    assert!(!is_there(&store, "first").await && !is_there(&store, "second").await);
    query("PRAGMA max_page_count = 1000000").execute(store.database.writer()).await.unwrap();
    store.put_setting("later", b"").await.unwrap();
    assert!(is_there(&store, "later").await);
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_open() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(directory.path()).await, open(directory.path()).await);
    drop(writing(&store, "dropped").await);
    other.put_setting("a", b"").await.unwrap();
    let mut commit = Box::pin(writing(&store, "committed").await.commit());
    // Begun and given up, whatever it came to: the other process gets its turn.
    let _ = std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context))).await;
    drop(commit);
    other.put_setting("b", b"").await.unwrap();
    assert!(is_there(&other, "a").await && is_there(&other, "b").await && !is_there(&other, "dropped").await);
}

const CHILD: &str = "PORTCULLIS_TEST_WRITES_UNTIL_KILLED";

/// Not a test by itself: what the next one starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&directory)).await;
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("{writer}.{number}");
                store.put_setting(&name, b"").await.unwrap();
                use std::io::Write as _;
                std::io::stderr().write_all(format!("kept {name}\n").as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_reported_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::conformance::groups_of_commits::writes_until_it_is_killed"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        kept.extend(lines.by_ref().take(200));
        child.kill().unwrap();
        kept.extend(lines);
        child.wait().unwrap();
        let store = open(directory.path()).await;
        for name in kept.iter().filter_map(|line| line.strip_prefix("kept ")) {
            assert!(is_there(&store, name).await, "{name} was reported and is lost");
        }
        query("DELETE FROM settings").execute(store.database.writer()).await.unwrap();
        assert!(kept.len() >= 200);
        kept.clear();
    }
}
