//! A process that is killed at any commit while a client comes to its tokens, renews them and gives them up, and while keys are
//! replaced: whatever was answered is so for the next process, and what was not can be asked for again.
//!
//! What SIGKILL leaves behind is the files as they are, so each commit leaves two pictures of them: one from just before it and one from
//! just after, when nobody has heard of it. A gateway is opened on each.

use super::*;
use crate::checkpoints::Step;
use crate::tokens::Rotation;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the client knows: what it was answered so far.
#[derive(Clone, Debug, Default)]
struct Known {
    client: Option<String>,
    code: Option<String>,
    /// Access and refresh tokens, oldest first.
    tokens: Vec<(String, String)>,
    revoked: bool,
    /// Of another client, made when the first one was done.
    other: Option<(String, String, String)>,
    keys_replaced: bool,
}

/// A picture of the database.
struct Picture {
    step: Step,
    known: Known,
    directory: PathBuf,
}

/// Takes pictures.
#[derive(Clone, Default)]
struct Album {
    known: Arc<Mutex<Known>>,
    pictures: Arc<Mutex<Vec<Picture>>>,
}

impl Album {
    fn take(&self, step: Step, from: &Path) {
        let mut pictures = self.pictures.lock();
        let directory = from.join(format!("picture{}", pictures.len()));
        std::fs::create_dir(&directory).unwrap();
        for name in ["portcullis.db", "portcullis.db-wal"] {
            std::fs::copy(from.join(name), directory.join(name)).unwrap();
        }
        pictures.push(Picture { step, known: self.known.lock().clone(), directory });
    }

    fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock());
    }
}

fn url(directory: &Path) -> String {
    format!("sqlite://{}/portcullis.db", directory.display())
}

#[tokio::test]
async fn a46_kill_9_at_any_commit_takes_back_nothing_that_was_answered_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
    let world = World::on(&url(directory.path()), vault.clone(), Unknown::Ask, Role::Member).await;
    let album = Album::default();
    let (taking, from) = (album.clone(), directory.path().to_owned());
    world.issuer.store.checkpoints().await.at_each_step(Some(Box::new(move |step| {
        taking.take(step, &from);
        Box::pin(std::future::ready(()))
    })));
    let began = Instant::now();
    live(&world, &album).await;
    world.issuer.store.checkpoints().await.at_each_step(None);

    let pictures = std::mem::take(&mut *album.pictures.lock());
    for (number, picture) in pictures.iter().enumerate() {
        let next = World::on(&url(&picture.directory), vault.clone(), Unknown::Ask, Role::Member).await;
        // As if it were started at once: codes and the grace of a rotation last a minute.
        next.issuer.clock.set_back(began.elapsed());
        // The browser has the cookie that it had.
        let next = World { cookie: world.cookie.clone(), ..next };
        go_on(&next, &picture.known, &format!("picture {number}, {:?}, {:?}", picture.step, picture.known)).await;
        let verdict = next.issuer.store.verify_audit(None).await.unwrap();
        assert_eq!(verdict.broken, None, "picture {number}");
        next.issuer.store.close().await;
    }
    let committed = pictures.iter().filter(|picture| picture.step == Step::Committed).count();
    println!("{committed} commits, {} pictures", pictures.len());
    assert!(committed >= 12 && pictures.len() == 2 * committed, "{committed} of {}", pictures.len());
}

/// What is interrupted.
async fn live(world: &World, album: &Album) {
    let client = world.client(NOTES).await;
    album.learn(|known| known.client = Some(client.clone()));
    let code = world.code(&client, "read offline_access").await;
    album.learn(|known| known.code = Some(code.clone()));
    let mut pair = pair_of(&world.exchange(&client, &code, &[]).await);
    album.learn(|known| known.tokens.push(pair.clone()));
    for _ in 0..2 {
        pair = pair_of(&world.refresh(&client, &pair.1, &[]).await);
        album.learn(|known| known.tokens.push(pair.clone()));
    }
    revoke(world, &client, &pair.1).await;
    album.learn(|known| known.revoked = true);
    world.issuer.audit.flush().await;

    let other = world.client(NOTES).await;
    let tokens = world.signed_in(&other, "read").await;
    let (access, refresh) = (text(&tokens, "access_token").to_owned(), text(&tokens, "refresh_token").to_owned());
    album.learn(|known| known.other = Some((other, access, refresh)));
    replace_keys(world).await;
    album.learn(|known| known.keys_replaced = true);
    world.client(NOTES).await;
    world.issuer.audit.flush().await;
}

/// What the next process makes of it, the client asking again for what it was not answered.
async fn go_on(world: &World, known: &Known, when: &str) {
    let client = match &known.client {
        Some(client) => client.clone(),
        None => world.client(NOTES).await,
    };
    match (&known.code, known.tokens.last()) {
        _ if known.revoked => after_the_revocation(world, known, &client, when).await,
        (None, _) => drop(world.signed_in(&client, "read").await),
        (Some(code), None) => spend(world, &client, code, when).await,
        (Some(code), Some(newest)) => renew(world, known, (&client, code, newest), when).await,
    }
}

/// The answer may have been on its way: then the code is spent, and so is what it bought.
async fn spend(world: &World, client: &str, code: &str, when: &str) {
    let answer = world.exchange(client, code, &[]).await;
    if answer.status == StatusCode::OK {
        let (access, _) = pair_of(&answer);
        assert!(world.issuer.tokens.verify(&access).is_ok(), "{when}");
    } else {
        assert_eq!(answer.error(), "invalid_grant", "{when}");
    }
    assert_eq!(live_grants(world).await, usize::from(answer.status == StatusCode::OK), "{when}");
    assert_eq!(world.exchange(client, code, &[]).await.error(), "invalid_grant", "{when}: a code works twice");
    assert_eq!(live_grants(world).await, 0, "{when}");
}

async fn renew(world: &World, known: &Known, held: (&str, &str, &(String, String)), when: &str) {
    let (client, code, (access, refresh)) = held;
    let verifies = |token: &str| world.issuer.tokens.verify(token).is_ok();
    // Cut off in the middle of a revocation nobody was promised anything.
    let renewed = world.refresh(client, refresh, &[]).await;
    if known.tokens.len() < 3 || renewed.status == StatusCode::OK {
        assert!(verifies(access), "{when}");
        let (renewed, next) = pair_of(&renewed);
        assert!(verifies(&renewed), "{when}");
        assert_eq!(live_grants(world).await, 1, "{when}");
        assert_eq!(world.refresh(client, &next, &[]).await.status, StatusCode::OK, "{when}");
        assert_eq!(world.exchange(client, code, &[]).await.error(), "invalid_grant", "{when}");
    }
    assert_eq!(live_grants(world).await, 0, "{when}");
    revoke(world, client, refresh).await;
}

async fn after_the_revocation(world: &World, known: &Known, client: &str, when: &str) {
    let verifies = |token: &str| world.issuer.tokens.verify(token).is_ok();
    for (access, refresh) in &known.tokens {
        assert!(!verifies(access), "{when}: what was revoked lives");
        assert_eq!(world.refresh(client, refresh, &[]).await.error(), "invalid_grant", "{when}");
    }
    let Some((other, access, refresh)) = &known.other else { return };
    assert!(!known.keys_replaced || !verifies(access), "{when}: what the old key signed is good");
    let (renewed, _) = pair_of(&world.refresh(other, refresh, &[]).await);
    assert!(verifies(&renewed), "{when}");
    replace_keys(world).await;
}

fn pair_of(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let answer = reply.json();
    (text(&answer, "access_token").to_owned(), text(&answer, "refresh_token").to_owned())
}

async fn revoke(world: &World, client: &str, token: &str) {
    let reply = world.post(&format!("{NOTES}/revoke"), &[("client_id", client), ("token", token)]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
}

async fn live_grants(world: &World) -> usize {
    let grants = world.issuer.store.grants_of(world.alice.id).await.unwrap();
    grants.iter().filter(|grant| grant.revoked_at.is_none()).count()
}

async fn replace_keys(world: &World) {
    let Issuer { store, vault, random, clock, .. } = &*world.issuer;
    let config = lifetimes();
    Rotation { store, vault, random, now: clock.now(), config: &config }.replace_all().await.unwrap();
}
