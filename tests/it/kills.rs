//! The program is killed (SIGKILL) in the middle of what it does once: its first start with all migrations, a backup, a move to another
//! database. All of it has happened then, or nothing, and doing it again works.

use crate::process::{Machine, Server};
use crate::raw::PATIENCE;
use crate::vault::{CONNECTIONS, fill};
use futures_util::future::join_all;
use portcullis::ids::Random;
use portcullis::store::Store;
use portcullis::vault::Vault;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// At how many moments, evenly over the time that it takes.
const MOMENTS: u32 = 5;

/// Runs a command and kills it after that long, unless it has ended.
async fn killed_after(mut command: Command, pause: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    if tokio::time::timeout(pause, child.wait()).await.is_err() {
        child.kill().await.unwrap();
    }
}

/// What it said, and whether it went well.
async fn run(mut command: Command) -> (bool, String) {
    let output = tokio::time::timeout(4 * PATIENCE, command.output()).await.expect("it does not end").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn a_first_start_that_is_killed_is_made_up_for_by_the_next() {
    let began = Instant::now();
    let machine = Machine::new();
    let first = Server::start(machine.command(&["serve"]), "/setup?token=").await;
    let whole = began.elapsed();
    assert_eq!(first.signal("-TERM").await.code(), Some(0));
    let again = (1..=MOMENTS).map(|moment| async move {
        let machine = Machine::new();
        killed_after(machine.command(&["serve"]), whole * moment / (MOMENTS + 1)).await;
        let next = Server::start(machine.command(&["serve"]), "/setup?token=").await;
        assert_eq!(next.signal("-TERM").await.code(), Some(0), "killed at {moment}");
    });
    join_all(again).await;
}

#[tokio::test]
async fn a_backup_and_a_move_that_are_killed_leave_all_or_nothing() {
    let machine = Machine::new();
    let key = Vault::generate_key(&Random::default());
    portcullis::config::write_vault_key(&machine.path("vault.key"), &key).unwrap();
    let url = |name: &str| format!("sqlite://{}", machine.path(name).display());
    let (store, vault) = (Store::open(&url("here.db")).await.unwrap(), Vault::new(&key, &[]).unwrap());
    vault.check(&store).await.unwrap();
    fill(&store, &vault).await;
    store.close().await;
    let command = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command
            .env("PORTCULLIS__STORE__URL", url("here.db"))
            .env("PORTCULLIS__VAULT__KEY_FILE", machine.path("vault.key"));
        command
    };

    let began = Instant::now();
    let (done, said) = run(command(&["backup", "whole.backup"])).await;
    assert!(done, "{said}");
    let (whole, mut found) = (began.elapsed(), 0);
    for moment in 1..=MOMENTS {
        let name = format!("{moment}.backup");
        killed_after(command(&["backup", &name]), whole * moment / (MOMENTS + 1)).await;
        if machine.path(&name).exists() {
            found += 1;
        } else {
            let (done, said) = run(command(&["backup", &name])).await;
            assert!(done, "killed at {moment}: {said}");
        }
        let (good, said) = run(command(&["backup", "--check", &name])).await;
        assert!(good, "killed at {moment}: {said}");
    }

    let began = Instant::now();
    let (done, said) = run(command(&["migrate", &url("here.db"), &url("whole.db")])).await;
    assert!(done, "{said}");
    let (whole, mut moved) = (began.elapsed(), 0);
    for moment in 1..=MOMENTS {
        let there = url(&format!("{moment}.db"));
        killed_after(command(&["migrate", &url("here.db"), &there]), whole * moment / (MOMENTS + 1)).await;
        let (done, said) = run(command(&["migrate", &url("here.db"), &there])).await;
        assert!(done || said.contains("not empty"), "killed at {moment}: {said}");
        moved += usize::from(!done);
        let arrived = Store::open(&there).await.unwrap();
        assert_eq!(arrived.connections().await.unwrap().len(), CONNECTIONS, "killed at {moment}");
        arrived.close().await;
    }
    println!("killed {MOMENTS} times each: {found} backups and {moved} moves were whole");
}
