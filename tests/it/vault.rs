//! Another vault key while gateways run, and a rotation that is killed.

use crate::client::{Client, mcp_url};
use crate::gateway::Gateway;
use crate::process::{Machine, PATIENCE};
use crate::raw::{Caller, post};
use crate::upstreams::Notes;
use parking_lot::Mutex;
use portcullis::config::{UpstreamAuth, VaultKeys};
use portcullis::ids::{ConnectionId, Random, UserId};
use portcullis::secret::Secret;
use portcullis::store::{Connection, Store, Value as Row};
use portcullis::vault::{Place, Rewrapped, Vault};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};

fn key() -> Secret {
    Vault::generate_key(&Random::default())
}

/// The keys of a gateway's configuration.
#[derive(Clone)]
struct Keys(Arc<Mutex<VaultKeys>>);

impl Keys {
    fn new(key: &Secret) -> Self {
        let keys = VaultKeys { key: Some(key.clone()), key_file: None, previous: Vec::new(), pkcs11: None };
        Self(Arc::new(Mutex::new(keys)))
    }

    async fn change(&self, gateway: &Gateway, current: &Secret, previous: &[&Secret]) {
        let previous = previous.iter().map(|key| (*key).clone()).collect();
        *self.0.lock() = VaultKeys { key: Some(current.clone()), key_file: None, previous, pkcs11: None };
        let reloaded = gateway.reload(|_| {}).await.unwrap();
        assert_eq!((reloaded.changed, reloaded.needs_restart), (vec!["vault"], vec![]));
    }
}

async fn asks(gateway: &Gateway, host: &str, token: &str) -> u16 {
    // Nothing from memory: the connection is opened with whatever key it needs.
    gateway.app().connections.forget_all();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
        "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    Caller::connect(gateway.port()).await.send(post(host, token, body)).await.status().await
}

async fn rewrap(gateway: &Gateway) -> Rewrapped {
    gateway.app().vault.rewrap_all(&gateway.app().store, &mut |_| {}).await.unwrap()
}

#[tokio::test]
async fn two_gateways_change_the_key_without_a_restart_and_nobody_notices() {
    let (old, new) = (key(), key());
    let keys = Keys::new(&old);
    let notes = Notes::start().await;
    let (configured, authority) = (keys.clone(), notes.authority());
    let gateway = Gateway::with(move |config| {
        config.vault = configured.0.lock().clone();
        let oauth = UpstreamAuth::OAuth(Box::default());
        config.upstream.push(crate::gateway::upstream(&authority, oauth));
    })
    .await;
    let other = gateway.beside().await;
    let host = gateway.host_of(&notes.authority());
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    let both_answer = async |when: &str| {
        for gateway in [&gateway, &other] {
            assert_eq!(asks(gateway, &host, &tokens.access).await, 200, "{when}");
        }
    };
    both_answer("at first").await;

    // Everywhere as one that opens; then, one after the other, as the one that seals.
    keys.change(&gateway, &old, &[&new]).await;
    keys.change(&other, &old, &[&new]).await;
    both_answer("when both know the new key").await;
    keys.change(&gateway, &new, &[&old]).await;
    assert!(rewrap(&gateway).await.done >= 2, "a connection and a signing key at least");
    both_answer("when one seals with the new key, and what there was is rewrapped").await;

    // The other one still seals with the old key, and says so: the old key stays needed.
    let again = Client::ready(&mcp_url(&other, &notes.authority())).await.connect().await;
    other.app().vault.check(&other.app().store).await.unwrap();
    assert_eq!(asks(&gateway, &host, &again.access).await, 200);
    let alone = Vault::new(&new, &[]).unwrap();
    assert!(alone.check(&gateway.app().store).await.is_err());
    keys.change(&other, &new, &[&old]).await;
    let retired = rewrap(&gateway).await;
    assert_eq!((retired.left, retired.damaged_in_all), (vec![], 0));
    assert_eq!(retired.retired, [Vault::new(&old, &[]).unwrap().current_key()]);

    keys.change(&gateway, &new, &[]).await;
    keys.change(&other, &new, &[]).await;
    both_answer("without the old key").await;
    let refused = gateway.reload(|config| config.vault = Keys::new(&old).0.lock().clone()).await.unwrap_err();
    assert!(refused.to_string().contains("does not fit this database"), "{refused}");
    both_answer("after a reload that was refused").await;
    let gateway = gateway.restart().await;
    assert_eq!(asks(&gateway, &host, &tokens.access).await, 200, "after a restart");
    // The refresh token of the client still rotates, and its grace still knows the successor.
    let renewed = client.refresh(&tokens.refresh).await.1;
    assert!(renewed["refresh_token"].is_string());
    assert_eq!(client.refresh(&tokens.refresh).await.1["refresh_token"], renewed["refresh_token"]);
}

/// How many connections a database has that is rewrapped by a program that is killed.
pub const CONNECTIONS: usize = 2_600;

#[tokio::test]
async fn a_rotation_that_is_killed_again_and_again_loses_nothing() {
    let machine = Machine::new();
    let (old, new) = (key(), key());
    let file = |name: &str, key: &Secret| portcullis::config::write_vault_key(&machine.path(name), key).unwrap();
    file("old.key", &old);
    file("new.key", &new);
    let database = format!("sqlite://{}", machine.path("portcullis.db").display());
    let store = Store::open(&database).await.unwrap();
    let before = Vault::new(&old, &[]).unwrap();
    before.check(&store).await.unwrap();
    fill(&store, &before).await;
    let rewrap = |more: &[&str]| {
        let mut command = machine.command(&[&["vault", "rewrap", "--json"], more].concat());
        command
            .env("PORTCULLIS__STORE__URL", &database)
            .env("PORTCULLIS__VAULT__KEY_FILE", machine.path("new.key"))
            .env("PORTCULLIS__VAULT__PREVIOUS_KEY_FILES", format!("[{:?}]", machine.path("old.key")));
        command
    };
    let refused = rewrap(&[]).output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no gateway seals with the vault key"), "{said}");

    let (both, alone) = (Vault::new(&new, &[old]).unwrap(), Vault::new(&new, &[]).unwrap());
    let (mut kills, mut last) = (0, 0);
    let outcome: Value = loop {
        let mut child = rewrap(&["--offline"]).spawn().unwrap();
        let mut steps = BufReader::new(child.stderr.take().unwrap()).lines();
        // Killed while it works on the batch after the second that it told about.
        let told = async {
            for _ in 0..2 {
                steps.next_line().await.unwrap()?;
            }
            Some(())
        };
        if tokio::time::timeout(PATIENCE, told).await.unwrap().is_none() {
            let output = child.wait_with_output().await.unwrap();
            break serde_json::from_slice(&output.stdout).unwrap();
        }
        child.kill().await.unwrap();
        kills += 1;
        assert_eq!(opened(&store, &both).await, CONNECTIONS, "after {kills} kills");
        let done = opened(&store, &alone).await;
        assert!(done > last || done == CONNECTIONS, "it began again: {done} after {last}");
        last = done;
        assert!(done == CONNECTIONS || alone.check(&store).await.is_err());
    };
    assert!(kills >= 4, "it was killed {kills} times only");
    assert_eq!(outcome["left"], serde_json::json!([]));
    assert_eq!(opened(&store, &alone).await, CONNECTIONS);
    alone.check(&store).await.unwrap();
}

/// In one transaction.
pub async fn fill(store: &Store, vault: &Vault) {
    let random = Random::default();
    let user = UserId::random(&random);
    let (text, number) = (|text: &str| Row::Text(text.to_owned()), Row::Integer(0));
    let mut import = store.import().await.unwrap();
    let columns = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let ada = vec![Row::Bytes(user.0.to_vec()), text("ada"), text("member"), number.clone(), number.clone()];
    import.insert("users", &columns("id name role disabled created_at"), &[ada]).await.unwrap();
    let connection = |count: usize| {
        let (person, upstream) = (user.to_string(), format!("mcp{count}.example"));
        let row = format!("{person}/{upstream}/");
        let place = Place { table: "connections", row: &row, column: "sealed", person: &person, upstream: &upstream };
        vec![
            Row::Bytes(ConnectionId::random(&random).0.to_vec()),
            Row::Bytes(user.0.to_vec()),
            text(&upstream),
            text(""),
            text("active"),
            Row::Bytes(vault.seal(&place, upstream.as_bytes())),
            text(""),
            Row::Integer(1),
            number.clone(),
            number.clone(),
        ]
    };
    let names = columns("id user_id authority account state sealed scope version created_at updated_at");
    let rows: Vec<_> = (0..CONNECTIONS).map(connection).collect();
    import.insert("connections", &names, &rows).await.unwrap();
    import.commit().await.unwrap();
}

/// How many connections open as what they are.
async fn opened(store: &Store, vault: &Vault) -> usize {
    let connections = store.connections().await.unwrap();
    let opens = |connection: &&Connection| {
        let (person, upstream) = (connection.user.to_string(), connection.authority.as_str());
        let row = format!("{person}/{upstream}/");
        let place = Place { table: "connections", row: &row, column: "sealed", person: &person, upstream };
        vault.open(&place, &connection.sealed).is_ok_and(|opened| *opened == upstream.as_bytes())
    };
    connections.iter().filter(opens).count()
}

#[tokio::test]
async fn a_backup_of_the_program_is_private_sealed_and_comes_back() {
    let machine = Machine::new();
    let database = format!("sqlite://{}", machine.path("portcullis.db").display());
    let run = async |arguments: &[&str], database: &str| {
        let mut command = machine.command(arguments);
        command.env("PORTCULLIS__STORE__URL", database).env("PORTCULLIS__VAULT__KEY_FILE", machine.path("vault.key"));
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    Vault::new(&key(), &[]).unwrap();
    let keygen = run(&["vault", "keygen", "--out", "vault.key"], &database).await;
    assert!(keygen.0, "{}", keygen.2);
    assert!(!run(&["vault", "keygen", "--out", "vault.key"], &database).await.0, "no key is ever overwritten");
    assert!(run(&["apikey", "create", "reports"], &database).await.0);
    let backed = run(&["backup", "first.backup"], &database).await;
    assert!(backed.0 && backed.1.contains("it is worth nothing without the vault key"), "{backed:?}");
    assert_eq!(mode(&machine.path("first.backup")), 0o600);
    let again = run(&["backup", "first.backup"], &database).await;
    assert!(!again.0 && again.2.contains("name a new file"), "{again:?}");
    let leftovers = std::fs::read_dir(machine.home.path()).unwrap();
    let leftovers: Vec<_> = leftovers.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!leftovers.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{leftovers:?}");
    assert!(run(&["backup", "--check", "first.backup"], &database).await.0);

    let refused = run(&["restore", "first.backup"], &database).await;
    assert!(!refused.0 && refused.2.contains("--force"), "{refused:?}");
    let elsewhere = format!("sqlite://{}", machine.path("elsewhere.db").display());
    let restored = run(&["restore", "first.backup"], &elsewhere).await;
    assert!(restored.0 && restored.1.contains("lives again"), "{restored:?}");
    let keys: Value = serde_json::from_str(&run(&["apikey", "list", "--json"], &elsewhere).await.1).unwrap();
    assert_eq!(keys[0]["name"], "reports");
    let status: Value = serde_json::from_str(&run(&["vault", "status", "--json"], &elsewhere).await.1).unwrap();
    assert_eq!(status[0]["state"], "current");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
