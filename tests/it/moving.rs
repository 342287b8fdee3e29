//! A whole installation moves from SQLite to PostgreSQL and back, and nobody has to sign in again.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, USER, upstream};
use crate::postgres::Cluster;
use crate::upstreams::Notes;
use http::StatusCode;
use portcullis::cli::{self, Process};
use portcullis::config::UpstreamAuth;
use portcullis::devkit::browser::Arrived;
use portcullis::ids::{PasskeyId, Random};
use portcullis::secret::Secret;
use portcullis::store::{Passkey, Store};
use std::collections::BTreeMap;

async fn migrate(from: &str, to: &str) -> Result<String, String> {
    let arguments = ["portcullis", "migrate", from, to].map(Into::into).to_vec();
    let (mut stdin, mut stdout, mut stderr) = (&[][..], Vec::new(), Vec::new());
    let environment = BTreeMap::new();
    let process = Process { arguments, environment, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
    match cli::run(process).await {
        0 => Ok(String::from_utf8(stdout).unwrap()),
        _ => Err(String::from_utf8(stderr).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_moves_and_its_clients_go_on() {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let mut gateway = Gateway::with(move |config| {
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    let alice = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    let passkey = Passkey {
        id: PasskeyId::random(&Random::default()),
        credential_id: vec![1, 2, 3],
        user: alice.id,
        name: "Key".to_owned(),
        public_key: vec![4, 5],
        sign_count: 7,
        created_at: gateway.clock.now(),
        last_used_at: None,
    };
    gateway.app().store.insert_passkey(&passkey).await.unwrap();
    let here = format!("sqlite://{}/portcullis/portcullis.db", gateway.directory().display());
    let there = Cluster::shared().empty().await;

    let refused = migrate(&here, &there).await.unwrap_err();
    assert!(refused.contains("the first database is in use: stop every gateway"), "{refused}");
    let port = gateway.halt().await;
    let missing = migrate("sqlite:///nowhere/portcullis.db", &there).await.unwrap_err();
    assert!(missing.contains("/nowhere/portcullis.db"), "{missing}");
    let said = migrate(&here, &there).await.unwrap();
    assert!(said.starts_with("moved ") && said.contains("store.url"), "{said}");
    let refused = migrate(&here, &there).await.unwrap_err();
    assert!(refused.contains("the second database is not empty"), "{refused}");

    // At the new place everything goes on: the client's tokens, the person's session, what is added.
    let url = there.clone();
    let mut gateway = gateway.resume(port, move |config| config.store.url = Secret::new(url.clone())).await;
    let (status, body) = client.call(&tokens.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, renewed) = client.refresh(&tokens.refresh).await;
    assert_eq!(status, StatusCode::OK, "{renewed}");
    let Arrived::Page(page) = client.browser.open(&gateway.root(), "").await.unwrap() else { panic!() };
    assert!(page.text().contains(USER), "{}", page.text());
    let passkeys = gateway.app().store.passkeys_of(alice.id).await.unwrap();
    assert_eq!(passkeys.iter().map(|key| (key.id, key.sign_count)).collect::<Vec<_>>(), [(passkey.id, 7)]);
    assert_eq!(notes.authorization.counters().code_exchanges, 1, "nobody had to consent again");
    gateway.app().audit.flush().await;
    let events = gateway.app().store.audit(1000).await.unwrap().len();
    gateway.app().audit.record("system", "client.expired", "test", None);
    gateway.app().audit.flush().await;
    assert_eq!(
        gateway.app().store.audit(1000).await.unwrap().len(),
        events + 1,
        "numbers go on behind what came along"
    );

    // And back, into a new file.
    gateway.halt().await;
    let back = format!("sqlite://{}/back.db", gateway.directory().display());
    migrate(&there, &back).await.unwrap();
    let store = Store::open(&back).await.unwrap();
    assert_eq!(store.user_by_name(USER).await.unwrap().unwrap().id, alice.id);
    assert_eq!(store.grants_of(alice.id).await.unwrap().len(), 1);
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.lines as usize, verdict.broken), (events + 1, None), "the chain of the audit log goes on");
}
