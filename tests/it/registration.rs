//! Registrations over real sockets: managed, limited and expiring; clients that sign what they ask for, and clients without
//! a person, both by programs that this project did not write.

use crate::client::{Client, mcp_url, send};
use crate::clients::{drive, node};
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::python;
use crate::upstreams::Notes;
use data_encoding::BASE64URL_NOPAD;
use http::{Method, StatusCode};
use portcullis::cli::{Process, run};
use portcullis::config::RegistrationMode;
use portcullis::devkit::browser::Page;
use portcullis::secret::Secret;
use portcullis::store::Role;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::time::Duration;

async fn setup() -> (Notes, Gateway, String) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let url = mcp_url(&gateway, &notes.authority());
    (notes, gateway, url)
}

/// `portcullis …` beside the gateway, on its database.
async fn cli(gateway: &Gateway, arguments: &[&str]) -> Value {
    let directory = gateway.directory().display().to_string();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let process = Process {
        arguments: ["portcullis", "--json"].iter().chain(arguments).map(OsString::from).collect(),
        environment: [("XDG_STATE_HOME".to_owned(), directory)].into(),
        stdin: &mut std::io::empty(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    assert_eq!(run(process).await, 0, "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap_or_default()
}

/// A key in PEM, and a file with the set of its public half.
fn key(gateway: &Gateway) -> (String, String) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y)});
    let path = gateway.directory().join("jwks.json");
    std::fs::write(&path, json!({"keys": [jwk]}).to_string()).unwrap();
    (pair.serialize_pem(), path.display().to_string())
}

/// The statuses of calls with a token, until one is refused: what was done beside the server reaches it within a second.
async fn is_refused_soon(client: &Client, token: &str) {
    for _ in 0..200 {
        if client.call(token, "whoami").await.0 == StatusCode::UNAUTHORIZED {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the token is still good");
}

#[tokio::test]
async fn machine_clients_of_the_official_sdks_act_for_their_owner_until_they_are_removed() {
    let (notes, gateway, url) = setup().await;
    let person = Client::ready(&url).await;
    person.connect().await;
    let (pem, jwks) = key(&gateway);
    let authority = notes.authority();
    let add = ["client", "add", "Nightly", "--user", USER, "--upstream", authority.as_str()];
    let with_secret = cli(&gateway, &add).await;
    let with_key = cli(&gateway, &[&add[..], &["--jwks", &jwks]].concat()).await;
    assert_eq!(with_key["secret"], Value::Null);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (first, second) = (text(&with_secret["id"]), text(&with_key["id"]));
    let secret = [("CLIENT_ID", first.clone()), ("CLIENT_SECRET", text(&with_secret["secret"]))];
    let signing = [("CLIENT_ID", second), ("CLIENT_KEY", pem)];
    let mut tokens = Vec::new();
    for credentials in [&secret, &signing] {
        let mut command = node("machine.mjs");
        command.envs(credentials.clone());
        let told = drive(command, "machine.mjs", &url).await;
        assert_eq!(told["refresh"], Value::Null);
        assert!(told["whoami"].as_str().unwrap().contains("demo"), "{told}");
        tokens.push(text(&told["token"]));
        let told = python::run_at("machine.py", &gateway, &url, credentials).await;
        assert!(told["whoami"].as_str().unwrap().contains("demo"), "{told}");
    }
    let listed = cli(&gateway, &["client", "list"]).await;
    let row = listed.as_array().unwrap().iter().find(|row| row["id"] == first.as_str()).unwrap();
    assert_eq!((&row["name"], &row["owner"], &row["grants"]), (&json!("Nightly"), &json!(USER), &json!(1)), "{row}");
    cli(&gateway, &["client", "revoke", &first]).await;
    is_refused_soon(&person, &tokens[0]).await;
    assert_eq!(person.call(&tokens[1], "whoami").await.0, StatusCode::OK);
    // She is not the last administrator any more, so she may go.
    let password = Secret::new(PASSWORD.to_owned());
    gateway.app().identity.create("carol", &password, Role::Administrator).await.unwrap();
    cli(&gateway, &["user", "remove", USER]).await;
    is_refused_soon(&person, &tokens[1]).await;
}

#[tokio::test]
async fn b21_openid_client_signs_whatever_it_asks_for() {
    let (_notes, gateway, url) = setup().await;
    let told = drive(node("private-key-jwt.mjs"), "private-key-jwt.mjs", &url).await;
    assert_eq!((&told["unsigned"], &told["afterwards"]), (&json!("invalid_client"), &json!("invalid_grant")), "{told}");
    let client = Client::discover(&url, "https://app.example/callback").await;
    assert_eq!(client.call(told["token"].as_str().unwrap(), "whoami").await.0, StatusCode::UNAUTHORIZED);
    let clients = gateway.app().store.clients().await.unwrap();
    assert!(clients.iter().any(|row| row.id == told["id"].as_str().unwrap() && row.secret.is_none()));
}

/// A registration and what manages it.
async fn registered(client: &Client, metadata: &Value) -> (StatusCode, Value) {
    let headers = [("content-type", "application/json")];
    let endpoint = client.endpoint("registration_endpoint");
    let page = send(&client.browser, Method::POST, &endpoint, &headers, Some(metadata.to_string())).await;
    (page.status, serde_json::from_str(&page.body).unwrap())
}

async fn managed(client: &Client, registration: &Value, method: Method, body: Option<Value>) -> Page {
    let bearer = format!("Bearer {}", registration["registration_access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let uri = registration["registration_client_uri"].as_str().unwrap();
    send(&client.browser, method, uri, &headers, body.map(|body| body.to_string())).await
}

fn metadata() -> Value {
    json!({"redirect_uris": ["http://127.0.0.1:33333/callback"], "token_endpoint_auth_method": "none"})
}

#[tokio::test]
async fn b35_a_client_reads_replaces_and_deletes_its_registration_and_its_tokens_die() {
    let (_notes, _gateway, url) = setup().await;
    let mut client = Client::discover(&url, "http://127.0.0.1:33333/callback").await;
    let (status, registration) = registered(&client, &metadata()).await;
    assert_eq!(status, StatusCode::CREATED);
    client.client_id = registration["client_id"].as_str().unwrap().to_owned();
    let tokens = client.connect().await;
    let mut other = metadata();
    other["client_id"] = registration["client_id"].clone();
    other["client_name"] = json!("Renamed");
    let replaced = managed(&client, &registration, Method::PUT, Some(other)).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.body);
    let read = managed(&client, &registration, Method::GET, None).await;
    assert_eq!(serde_json::from_str::<Value>(&read.body).unwrap()["client_name"], "Renamed");
    assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(managed(&client, &registration, Method::DELETE, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(client.refresh(&tokens.refresh).await.1["error"], "invalid_client");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = managed(&client, &registration, method, Some(metadata())).await;
        assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn the_policy_changes_while_it_runs() {
    let (_notes, gateway, url) = setup().await;
    let client = Client::discover(&url, "http://127.0.0.1:33333/callback").await;
    let token = "an initial access token";
    let reloaded =
        gateway.reload(|config| config.registration.mode = RegistrationMode::Token(Secret::new(token.into())));
    assert_eq!(reloaded.await.unwrap().changed, ["registration"]);
    assert_eq!(registered(&client, &metadata()).await.0, StatusCode::UNAUTHORIZED);
    gateway.reload(|config| config.registration.mode = RegistrationMode::Off).await.unwrap();
    assert_eq!(registered(&client, &metadata()).await.0, StatusCode::NOT_FOUND);
    let now = Client::discover(&url, "http://127.0.0.1:33333/callback").await;
    assert!(now.metadata.get("registration_endpoint").is_none());
    gateway.reload(|config| config.registration.mode = RegistrationMode::Open).await.unwrap();
    assert_eq!(registered(&client, &metadata()).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn an_expired_registration_takes_its_tokens_along() {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        config.registration.client_ttl = Some(Duration::from_secs(3600));
        config
            .upstream
            .push(crate::gateway::upstream(&authority, portcullis::config::UpstreamAuth::OAuth(Box::default())));
    });
    let gateway = gateway.await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    gateway.clock.advance(Duration::from_secs(3601));
    assert_eq!(client.refresh(&tokens.refresh).await.1["error"], "invalid_client");
    // What has expired is removed now and then, and first when a gateway starts.
    let _gateway = gateway.restart().await;
    is_refused_soon(&client, &tokens.access).await;
}
