use super::*;
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::{Role, User};
use proptest::prelude::*;
use std::future::Future;
use std::io::Cursor;

const NOW: Timestamp = Timestamp(1_800_000_000);

/// A backup is two and a half chunks long.
const SETTING: usize = 150_000;

fn key() -> Secret {
    Vault::generate_key(&Random::default())
}

async fn installation(vault: &Vault) -> Store {
    let store = Store::open("sqlite::memory:").await.unwrap();
    vault.check(&store).await.unwrap();
    store.put_setting("large", &[7; SETTING]).await.unwrap();
    add_user(&store, "ada").await;
    store
}

async fn add_user(store: &Store, name: &str) {
    let user = User {
        id: UserId::random(&Random::default()),
        name: name.to_owned(),
        password_hash: None,
        email: None,
        role: Role::Administrator,
        disabled: false,
        created_at: NOW,
    };
    store.create_user(&user).await.unwrap();
}

async fn backup_of(store: &Store, vault: &Vault) -> Vec<u8> {
    let mut file = Vec::new();
    write((store, vault), NOW, &Random::default(), &mut file, &mut |_, _, _| {}).await.unwrap();
    file
}

async fn restored(store: &Store, vault: &Vault, file: &[u8], choices: Choices) -> Result<Restored, Fault> {
    restore((store, vault), Cursor::new(file), choices, NOW, &mut |_, _, _| {}).await
}

fn checked(vault: &Vault, file: &[u8]) -> Result<Header, String> {
    check(vault, file, &mut |_, _, _| {}).map(|(header, _)| header).map_err(|fault| fault.to_string())
}

const REPLACE: Choices = Choices { replace: true, sign_everybody_out: false };

#[tokio::test]
async fn a_backup_comes_back() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let store = installation(&vault).await;
    let mut told = Vec::new();
    let mut file = Vec::new();
    let mut tell = |table: &str, done, of| told.push((table.to_owned(), done, of));
    let header = write((&store, &vault), NOW, &Random::default(), &mut file, &mut tell).await.unwrap();
    assert_eq!(told.last().map(|(_, done, of)| (*done, *of)), Some((header.rows(), header.rows())));
    assert_eq!((header.created_at, header.vault_keys.clone()), (NOW.0, vec![vault.current_key().to_string()]));
    assert!(!file.windows(16).any(|part| part == [7; 16]), "nothing of it is readable");
    assert_eq!(checked(&vault, &file).unwrap().rows(), header.rows());

    let empty = Store::open("sqlite::memory:").await.unwrap();
    restored(&empty, &vault, &file, Choices::default()).await.unwrap();
    assert!(empty.user_by_name("ada").await.unwrap().is_some());
    assert_eq!(empty.setting("large").await.unwrap().unwrap(), [7; SETTING]);
    vault.check(&empty).await.unwrap();
}

#[tokio::test]
async fn a_backup_of_one_kind_of_database_goes_into_the_other_and_back() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let sqlite = installation(&vault).await;
    let event = crate::store::AuditEvent {
        at: NOW,
        actor: "ada".to_owned(),
        action: "tested".to_owned(),
        subject: "a \0 b".to_owned(),
        address: None,
        upstream: None,
        client: None,
        status: None,
        duration_ms: None,
    };
    sqlite.append_audit(&[event.clone(), event.clone()]).await.unwrap();
    let postgres = Store::open(&crate::store::testing::postgres_url().await).await.unwrap();
    restored(&postgres, &vault, &backup_of(&sqlite, &vault).await, Choices::default()).await.unwrap();
    assert!(!postgres.user_by_name("ada").await.unwrap().unwrap().disabled);
    // What the database numbers goes on behind what was restored.
    postgres.append_audit(&[event]).await.unwrap();
    assert_eq!(postgres.audit(10).await.unwrap().len(), 3);
    let back = Store::open("sqlite::memory:").await.unwrap();
    restored(&back, &vault, &backup_of(&postgres, &vault).await, Choices::default()).await.unwrap();
    assert_eq!(back.audit(10).await.unwrap().len(), 3);
    let verdict = back.verify_audit(postgres.audit_head().await.unwrap()).await.unwrap();
    assert_eq!((verdict.lines, verdict.broken), (3, None));
    assert_eq!(back.setting("large").await.unwrap().unwrap(), [7; SETTING]);
    vault.check(&back).await.unwrap();
}

#[tokio::test]
async fn what_is_there_is_given_up_only_when_that_is_said() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let file = backup_of(&installation(&vault).await, &vault).await;
    let other = Store::open("sqlite::memory:").await.unwrap();
    add_user(&other, "bob").await;
    let refused = restored(&other, &vault, &file, Choices::default()).await.unwrap_err().to_string();
    assert!(refused.contains("not empty (it holds 1 rows)") && refused.contains("--force"), "{refused}");
    assert!(other.user_by_name("bob").await.unwrap().is_some());
    restored(&other, &vault, &file, REPLACE).await.unwrap();
    assert!(other.user_by_name("bob").await.unwrap().is_none());
    assert!(other.user_by_name("ada").await.unwrap().is_some());
}

#[tokio::test]
async fn every_key_of_the_backup_must_be_there() {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let store = installation(&before).await;
    let file = backup_of(&store, &before).await;
    let stranger = Vault::new(&new, &[]).unwrap();
    let refused = checked(&stranger, &file).unwrap_err();
    assert!(refused.contains(&before.current_key().to_string()) && refused.contains("previous_key_files"), "{refused}");

    // Half way through a rotation both are needed.
    let both = Vault::new(&new, &[old]).unwrap();
    both.check(&store).await.unwrap();
    let file = backup_of(&store, &both).await;
    let empty = Store::open("sqlite::memory:").await.unwrap();
    let refused = restored(&empty, &stranger, &file, Choices::default()).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("vault key {}, which is not", before.current_key())), "{refused}");
    assert_eq!(empty.import().await.unwrap().rows().await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_that_was_changed_is_refused_and_the_database_stays() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let store = installation(&vault).await;
    let file = backup_of(&store, &vault).await;
    let start = file.len() - (file.len() - header_len(&file)) % (64 * 1024 + 16);
    // Cut between two chunks: the one that is the last now was not made as the last.
    let refused = checked(&vault, &file[..start]).unwrap_err();
    assert!(refused.contains("cut off"), "{refused}");
    let chunk = |number: usize| {
        header_len(&file) + number * (64 * 1024 + 16)..header_len(&file) + (number + 1) * (64 * 1024 + 16)
    };
    let reordered = [&file[..header_len(&file)], &file[chunk(1)], &file[chunk(0)], &file[chunk(1).end..]].concat();
    let repeated = [&file[..chunk(0).end], &file[chunk(0)], &file[chunk(1).start..]].concat();
    let left_out = [&file[..header_len(&file)], &file[chunk(1).start..]].concat();
    let longer = [&file[..], b"x"].concat();
    let only_head = file[..header_len(&file)].to_vec();
    let other_head = {
        let other = backup_of(&store, &vault).await;
        [&other[..header_len(&other)], &file[header_len(&file)..]].concat()
    };
    for (what, changed) in [
        ("reordered", reordered),
        ("repeated", repeated),
        ("left out", left_out),
        ("longer", longer),
        ("only the head", only_head),
        ("another file's head", other_head),
    ] {
        let refused = restored(&store, &vault, &changed, REPLACE).await.unwrap_err().to_string();
        assert!(refused.contains("damaged or incomplete") || refused.contains("cut off"), "{what}: {refused}");
    }
    assert!(store.user_by_name("ada").await.unwrap().is_some());
    for (text, expected) in [
        (&b"SQLite format 3\0 and so on"[..], "no backup of portcullis"),
        (b"", "no backup of portcullis"),
        (b"portcullis backup 2\n....", "newer version"),
        (b"portcullis backup 1\n\xff\xff\xff\xff", "damaged or incomplete"),
    ] {
        let refused = checked(&vault, text).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
}

fn header_len(file: &[u8]) -> usize {
    let at = b"portcullis backup 1\n".len();
    at + 4 + u32::from_be_bytes(*file[at..].first_chunk().unwrap()) as usize
}

#[tokio::test]
async fn any_flipped_bit_and_any_cut_is_refused() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let file = backup_of(&installation(&vault).await, &vault).await;
    let runner = |(at, bit): (usize, u8)| {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << bit;
        for changed in [&flipped[..], &file[..at]] {
            let refused = checked(&vault, changed);
            prop_assert!(refused.is_err(), "byte {at}, bit {bit}");
            let text = refused.unwrap_err();
            prop_assert!(!text.contains(char::from(7)), "{text}");
        }
        Ok(())
    };
    // All of the header, and some of the rest.
    for at in 0..header_len(&file) {
        runner((at, (at % 8) as u8)).unwrap();
    }
    proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60))
        .run(&(header_len(&file)..file.len(), 0..8_u8), runner)
        .unwrap();
}

#[tokio::test]
async fn a_restore_that_dies_leaves_the_database_as_it_was() {
    let vault = Vault::new(&key(), &[]).unwrap();
    let file = backup_of(&installation(&vault).await, &vault).await;
    let store = Store::open("sqlite::memory:").await.unwrap();
    add_user(&store, "bob").await;
    let mut deaths = 0;
    for steps in 0.. {
        let ended = {
            let mut dying = std::pin::pin!(restored(&store, &vault, &file, REPLACE));
            let mut left = steps;
            std::future::poll_fn(|context| {
                if left == 0 {
                    return std::task::Poll::Ready(None);
                }
                left -= 1;
                dying.as_mut().poll(context).map(Some)
            })
            .await
        };
        // Whoever dies while the commit is under way has restored: then it is all there.
        if ended.is_some() || store.user_by_name("bob").await.unwrap().is_none() {
            break;
        }
        deaths += 1;
        assert!(store.setting("large").await.unwrap().is_none(), "after {steps} steps");
    }
    assert!(deaths > 20, "{deaths}");
    assert!(store.setting("large").await.unwrap().is_some());
    assert!(store.user_by_name("ada").await.unwrap().is_some());
}

#[tokio::test]
async fn everybody_can_be_signed_out() {
    use crate::ids::{Digest, GrantId};
    use crate::store::{Grant, RefreshToken};
    let vault = Vault::new(&key(), &[]).unwrap();
    let store = installation(&vault).await;
    let user = store.user_by_name("ada").await.unwrap().unwrap().id;
    let grant = Grant {
        id: GrantId::random(&Random::default()),
        user,
        client_id: String::new(),
        client_name: String::new(),
        realm: String::new(),
        resource: String::new(),
        scope: String::new(),
        created_at: NOW,
        revoked_at: None,
    };
    store.insert_grant(&grant, None).await.unwrap();
    let token = RefreshToken {
        token: Digest::of("token"),
        grant: grant.id,
        issued_at: NOW,
        expires_at: NOW,
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    };
    store.insert_refresh_token(&token).await.unwrap();
    let file = backup_of(&store, &vault).await;
    restored(&store, &vault, &file, REPLACE).await.unwrap();
    assert!(store.grant(grant.id).await.unwrap().unwrap().revoked_at.is_none());
    let choices = Choices { sign_everybody_out: true, ..REPLACE };
    assert!(restored(&store, &vault, &file, choices).await.unwrap().signed_out);
    assert_eq!(store.grant(grant.id).await.unwrap().unwrap().revoked_at, Some(NOW));
    assert!(store.refresh_token(&token.token).await.unwrap().is_none());
    assert!(store.user_by_name("ada").await.unwrap().is_some());
}
