//! A database whose key is changed: nothing is lost whenever it is stopped, and the database says which keys it needs.

use super::super::places;
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, Digest, GrantId, UserId};
use crate::jose::SigningAlgorithm;
use crate::store::*;
use data_encoding::HEXLOWER;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

const NOW: Timestamp = Timestamp(1_800_000_000);
const LATER: Timestamp = Timestamp(1_800_000_600);

/// How many connections there are: with batches of 3, several.
const CONNECTIONS: usize = 7;

/// One value in every column that is sealed, and some connections.
async fn installation(vault: &Vault) -> Store {
    installation_at("sqlite::memory:", vault).await
}

async fn installation_at(url: &str, vault: &Vault) -> Store {
    let store = Store::open(url).await.unwrap();
    vault.check(&store).await.unwrap();
    fill(vault, &store).await;
    store
}

async fn fill(vault: &Vault, store: &Store) {
    let random = Random::default();
    let seal = |table: &str, row: &str, column: &str, person: &str, upstream: &str| {
        vault.seal(&Place { table, row, column, person, upstream }, format!("{table} {row}").as_bytes())
    };
    let (id, hex) = (UserId::random(&random), |digest: &Digest| HEXLOWER.encode(&digest.0));
    let user = User {
        id,
        name: "ada".to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: NOW,
    };
    store.create_user(&user).await.unwrap();
    let person = id.to_string();
    for number in 0..CONNECTIONS {
        let authority = format!("mcp{number}.example");
        let row = format!("{person}/{authority}/work");
        let sealed = seal("connections", &row, "sealed", &person, &authority);
        store.put_connection(&connection(id, &authority, sealed)).await.unwrap();
    }
    let row = format!("{person}/parting.example/work");
    let sealed = seal("connections", &row, "sealed", &person, "parting.example");
    let parting = store.put_connection(&connection(id, "parting.example", sealed)).await.unwrap();
    assert!(store.delete_connection(parting).await.unwrap());
    let sealed = seal("service_pats", &format!("{person}/github"), "sealed", &person, "service:github");
    let pat = ServicePat { user: id, service: "github".to_owned(), sealed, created_at: NOW };
    store.put_service_pat(&pat).await.unwrap();
    let grant = Grant {
        id: GrantId::random(&random),
        user: id,
        client_id: String::new(),
        client_name: String::new(),
        realm: String::new(),
        resource: String::new(),
        scope: String::new(),
        created_at: NOW,
        revoked_at: None,
    };
    store.insert_grant(&grant, None).await.unwrap();
    let token = |text: &str| RefreshToken {
        token: Digest::of(text),
        grant: grant.id,
        issued_at: NOW,
        expires_at: LATER,
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    };
    let (old, new) = (token("old"), token("new"));
    store.insert_refresh_token(&old).await.unwrap();
    let sealed = seal("refresh_tokens", &hex(&old.token), "successor", &person, "");
    let successor = Successor { token: new.token, sealed, rotated_at: NOW };
    assert!(store.rotate_refresh_token(&old.token, &successor, &new).await.unwrap());
    let issuer = "https://id.example";
    let client = UpstreamClient {
        issuer: issuer.to_owned(),
        redirect_uri: "https://gw.example/oauth/callback".to_owned(),
        client_id: String::new(),
        sealed_secret: Some(seal("upstream_clients", issuer, "secret", "", issuer)),
        auth_method: String::new(),
        expires_at: None,
        created_at: NOW,
    };
    store.put_upstream_client(&client).await.unwrap();
    let authenticator = Authenticator {
        user: id,
        sealed: seal("authenticators", &person, "sealed", &person, ""),
        browser: Digest::of("browser"),
        last_step: 0,
        created_at: NOW,
        confirmed_at: None,
    };
    store.put_authenticator(&authenticator).await.unwrap();
    let key = SigningKey {
        kid: "kid".to_owned(),
        algorithm: SigningAlgorithm::Es256,
        sealed: seal("signing_keys", "kid", "sealed", "", ""),
        created_at: NOW,
        active_from: NOW,
        token_ttl: 0,
    };
    assert!(store.append_signing_key(&key, None).await.unwrap());
    let flow = |text: &str, data| Flow { id: Digest::of(text), session: Digest::of("s"), data, expires_at: LATER };
    store.insert_flow(&flow("plain", "{}".to_owned())).await.unwrap();
    let sealed = seal("flows", &hex(&Digest::of("sealed")), "data", "", "");
    store.insert_flow(&flow("sealed", BASE64.encode(&sealed))).await.unwrap();
}

fn connection(user: UserId, authority: &str, sealed: Vec<u8>) -> Connection {
    Connection {
        id: ConnectionId::random(&Random::default()),
        user,
        authority: authority.to_owned(),
        account: "work".to_owned(),
        state: ConnectionState::Active,
        sealed,
        scope: String::new(),
        expires_at: None,
        version: 1,
        personal: None,
        refreshing_since: None,
        last_error: None,
        created_at: NOW,
        updated_at: NOW,
        last_used_at: None,
    }
}

/// How many values open as what they are, of how many.
async fn good(vault: &Vault, store: &Store) -> (usize, usize) {
    let (mut good, mut all) = (0, 0);
    for place in &places::ALL {
        for value in store.sealed_otherwise(&place.column, b"nothing  ", None, 1000).await.unwrap() {
            let whose = place.belonging(&value).unwrap();
            let at = place.place(&whose);
            let (opened, expected) = (vault.open(&at, &value.sealed), format!("{} {}", at.table, at.row));
            all += 1;
            good += usize::from(opened.is_ok_and(|opened| *opened == expected.as_bytes()));
        }
    }
    (good, all)
}

const ALL: usize = CONNECTIONS + 7;

/// A future that dies after so many steps.
struct Mortal<F>(Pin<Box<F>>, usize);

impl<F: Future> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        self.0.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn every_sealed_column_gets_the_new_key() {
    rotates("sqlite::memory:").await;
}

#[tokio::test]
async fn every_sealed_column_gets_the_new_key_on_postgres() {
    rotates(&crate::store::testing::postgres_url().await).await;
}

async fn rotates(url: &str) {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let store = installation_at(url, &before).await;
    assert_eq!(good(&before, &store).await, (ALL, ALL));
    let after = Vault::new(&new, &[old]).unwrap();
    after.check(&store).await.unwrap();
    let mut told = Vec::new();
    let outcome = after.rewrap_all(&store, &mut |progress| told.push(progress)).await.unwrap();
    let expected = Rewrapped { done: ALL as u64, retired: vec![before.current_key()], ..Rewrapped::default() };
    assert_eq!(outcome, expected);
    assert_eq!(told.last().map(|last| (last.done, last.of)), Some((ALL as u64, ALL as u64)));

    let alone = Vault::new(&new, &[]).unwrap();
    assert_eq!(good(&alone, &store).await, (ALL, ALL));
    alone.check(&store).await.unwrap();
    assert!(before.check(&store).await.is_err());
    assert_eq!(alone.rewrap_all(&store, &mut |_| {}).await.unwrap(), Rewrapped::default(), "nothing is done twice");
}

#[tokio::test]
async fn it_can_die_at_any_step_and_goes_on_where_it_was() {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let (after, alone) = (Vault::new(&new, std::slice::from_ref(&old)).unwrap(), Vault::new(&new, &[]).unwrap());
    let (mut deaths, mut halves) = (0, 0);
    // The number of steps depends on how fast the database answers: some of them are enough.
    for steps in (0..).step_by(3) {
        let store = installation(&before).await;
        let ended = Mortal(Box::pin(after.rewrap_by(3, &store, &mut |_| {})), steps).await;
        assert_eq!(good(&after, &store).await, (ALL, ALL), "after {steps} steps");
        if ended.is_some() {
            break;
        }
        deaths += 1;
        halves += usize::from((1..ALL).contains(&good(&alone, &store).await.0));
        // The database says what it still needs.
        let still_needed = good(&alone, &store).await.0 < ALL;
        assert!(!still_needed || alone.check(&store).await.is_err(), "after {steps} steps");
        after.rewrap_all(&store, &mut |_| {}).await.unwrap();
        assert_eq!(good(&alone, &store).await, (ALL, ALL), "after {steps} steps");
        alone.check(&store).await.unwrap();
    }
    assert!(deaths > 10 && halves > 2, "{deaths} deaths, {halves} of them half way");
}

#[tokio::test]
async fn what_a_gateway_seals_meanwhile_with_the_old_key_is_wrapped_too() {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let store = installation(&before).await;
    let after = Vault::new(&new, &[old]).unwrap();
    let is_past_connections = Cell::new(false);
    let mut told =
        |progress: Progress| is_past_connections.set(is_past_connections.get() || progress.table != "connections");
    let mut rewrap = std::pin::pin!(after.rewrap_by(3, &store, &mut told));
    let until_past = std::future::poll_fn(|context| match is_past_connections.get() {
        true => Poll::Ready(()),
        false => rewrap.as_mut().poll(context).map(|_| ()),
    });
    until_past.await;
    let user = store.users().await.unwrap().remove(0).id;
    let row = format!("{user}/late.example/work");
    let (person, upstream) = (user.to_string(), "late.example");
    let place = Place { table: "connections", row: &row, column: "sealed", person: &person, upstream };
    store.put_connection(&connection(user, upstream, before.seal(&place, row.as_bytes()))).await.unwrap();
    let outcome = rewrap.await.unwrap();
    assert_eq!((outcome.done, outcome.left, outcome.retired.len()), (ALL as u64 + 1, vec![], 1));
}

#[tokio::test]
async fn a_value_that_changes_meanwhile_is_left_alone() {
    let (old, new) = (key(), key());
    let store = installation(&Vault::new(&old, &[]).unwrap()).await;
    let after = Vault::new(&new, &[old]).unwrap();
    let place = &places::ALL[0];
    let mut values = store.sealed_otherwise(&place.column, b"nothing  ", None, 1).await.unwrap();
    let first = values.remove(0);
    let refreshed = after.seal(&place.place(&place.belonging(&first).unwrap()), b"connections refreshed");
    let stale = SealedValue { key: first.key.clone(), about: Vec::new(), sealed: first.sealed.clone() };
    assert_eq!(store.replace_sealed(&place.column, &[(first, refreshed.clone())]).await.unwrap(), 1);
    assert_eq!(store.replace_sealed(&place.column, &[(stale, b"stale".to_vec())]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_does_not_open_is_named_and_its_key_stays() {
    let (old, new, lost) = (key(), key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let store = installation(&before).await;
    let place = &places::ALL[0];
    let mut values = store.sealed_otherwise(&place.column, b"nothing  ", None, 3).await.unwrap();
    // Two rows are swapped, and one comes from elsewhere.
    let (a, b, c) = (values.remove(0), values.remove(0), values.remove(0));
    let (of_a, of_b) = (a.sealed.clone(), b.sealed.clone());
    let stranger = Vault::new(&lost, &[]).unwrap();
    let foreign = stranger.seal(&place.place(&place.belonging(&c).unwrap()), b"foreign");
    store.replace_sealed(&place.column, &[(a, of_b), (b, of_a), (c, foreign)]).await.unwrap();

    let after = Vault::new(&new, &[old]).unwrap();
    after.check(&store).await.unwrap();
    let outcome = after.rewrap_all(&store, &mut |_| {}).await.unwrap();
    assert_eq!((outcome.done, outcome.damaged_in_all, outcome.retired.len()), (ALL as u64 - 3, 2, 0));
    assert_eq!(outcome.damaged.len(), 2);
    assert!(outcome.damaged.iter().all(|one| one.table == "connections" && one.row.contains("/mcp")));
    let mut left: Vec<_> = outcome.left.iter().map(|usage| (usage.key, usage.values)).collect();
    left.sort();
    let mut expected = vec![(before.current_key(), 2), (stranger.current_key(), 1)];
    expected.sort();
    assert_eq!(left, expected);
    let fault = Vault::new(&new, &[]).unwrap().check(&store).await.unwrap_err().to_string();
    assert!(fault.contains(&format!("{} is missing, and values", before.current_key())), "{fault}");
    assert!(fault.contains("2 in connections") && fault.contains("vault.previous_key_files"), "{fault}");
}

#[tokio::test]
async fn a_database_opens_only_with_the_keys_that_it_needs() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let (old, new) = (key(), key());
    let first = Vault::new(&old, &[]).unwrap();
    first.check(&store).await.unwrap();
    first.check(&store).await.unwrap();

    let stranger = Vault::new(&new, &[]).unwrap().check(&store).await.unwrap_err().to_string();
    for needed in ["does not fit this database", "vault.key_file", "vault.previous_key_files"] {
        assert!(stranger.contains(needed), "{stranger}");
    }
    assert!(stranger.contains(&first.current_key().to_string()), "{stranger}");
    first.check(&store).await.unwrap();
    let both = Vault::new(&new, &[old]).unwrap();
    both.check(&store).await.unwrap();
    assert!(Vault::new(&new, &[]).unwrap().check(&store).await.is_err(), "the check itself does not rotate");
    let fault = first.check(&store).await.unwrap_err().to_string();
    assert!(fault.contains("a gateway seals with it") && fault.contains(&both.current_key().to_string()), "{fault}");
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_looked_through_once() {
    let (oldest, old, new) = (key(), key(), key());
    let first = Vault::new(&oldest, &[]).unwrap();
    let store = Store::open("sqlite::memory:").await.unwrap();
    let check = Place { table: "settings", row: "vault.check", column: "value", person: "", upstream: "" };
    let seal = |vault: &Vault| vault.seal(&check, b"portcullis");
    // The check was sealed with the first key, the values with the second.
    store.put_setting("vault.check", &seal(&first)).await.unwrap();
    fill(&Vault::new(&old, &[]).unwrap(), &store).await;
    assert!(Vault::new(&new, &[]).unwrap().check(&store).await.is_err());
    let fault = Vault::new(&new, std::slice::from_ref(&oldest)).unwrap().check(&store).await.unwrap_err().to_string();
    assert!(fault.contains("7 in connections") && fault.contains("1 in signing_keys"), "{fault}");
    let all = Vault::new(&new, &[oldest, old]).unwrap();
    all.check(&store).await.unwrap();
    assert_eq!(store.setting("vault.check").await.unwrap(), None);
    assert_eq!(store.settings_beginning("vault.key.").await.unwrap().len(), 3);
    assert_eq!(all.rewrap_all(&store, &mut |_| {}).await.unwrap().retired.len(), 2);
    Vault::new(&new, &[]).unwrap().check(&store).await.unwrap();
}

#[tokio::test]
async fn a_database_without_marks_is_looked_through_before_a_key_is_believed() {
    let (right, wrong) = (key(), key());
    let right = Vault::new(&right, &[]).unwrap();
    let store = installation(&right).await;
    assert!(right.is_in_use(&store).await.unwrap());
    // As somebody leaves it who empties the table of settings.
    store.delete_setting(&format!("vault.key.{}", right.current_key())).await.unwrap();
    assert!(!right.is_in_use(&store).await.unwrap());
    let fault = Vault::new(&wrong, &[]).unwrap().check(&store).await.unwrap_err().to_string();
    assert!(fault.contains("7 in connections") && fault.contains(&right.current_key().to_string()), "{fault}");
    assert_eq!(right.keys_of(&store).await.unwrap(), [], "whoever was refused left no mark");
    right.check(&store).await.unwrap();
    assert!(right.is_in_use(&store).await.unwrap());

    store.put_setting(&format!("vault.key.{}", right.current_key()), b"torn").await.unwrap();
    let fault = right.check(&store).await.unwrap_err().to_string();
    assert!(fault.contains("is damaged: restore a backup"), "{fault}");
}

#[tokio::test]
async fn many_damaged_values_are_counted_and_some_are_named() {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let store = installation(&before).await;
    let user = store.users().await.unwrap().remove(0).id;
    for number in 0..30 {
        // Each belongs to another row.
        let place = Place { table: "connections", row: "elsewhere", column: "sealed", person: "", upstream: "" };
        let sealed = before.seal(&place, b"moved");
        store.put_connection(&connection(user, &format!("moved{number}.example"), sealed)).await.unwrap();
    }
    let after = Vault::new(&new, &[old]).unwrap();
    after.check(&store).await.unwrap();
    let mut of = Vec::new();
    let outcome = after.rewrap_all(&store, &mut |progress| of.push(progress.of)).await.unwrap();
    assert_eq!((outcome.damaged_in_all, outcome.damaged.len()), (30, 20));
    assert_eq!(outcome.done, ALL as u64);
    assert!(!of.is_empty() && of.iter().all(|of| *of == ALL as u64 + 30), "{of:?}");
}

#[tokio::test]
async fn what_is_no_sealed_value_is_not_among_what_is_to_be_done() {
    let (old, new) = (key(), key());
    let store = installation(&Vault::new(&old, &[]).unwrap()).await;
    let place = &places::ALL[0];
    let value = store.sealed_otherwise(&place.column, b"nothing  ", None, 1).await.unwrap().remove(0);
    // Too short to name a key.
    store.replace_sealed(&place.column, &[(value, b"torn".to_vec())]).await.unwrap();
    let after = Vault::new(&new, &[old]).unwrap();
    after.check(&store).await.unwrap();
    let mut of = Vec::new();
    after.rewrap_all(&store, &mut |progress| of.push(progress.of)).await.unwrap();
    assert!(of.iter().all(|of| *of == ALL as u64 - 1), "{of:?}");
}
