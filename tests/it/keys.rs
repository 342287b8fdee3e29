//! Signing keys come and go while clients, other processes and those who keep a copy of the key set go on.

use crate::client::{Client, get_json, mcp_url, send};
use crate::clients::{drive, node};
use crate::gateway::Gateway;
use crate::raw::{Caller, RawUpstream, SOON, get, post, status};
use crate::revocation::command;
use crate::upstreams::Notes;
use data_encoding::BASE64URL_NOPAD;
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Browser;
use ring::hmac;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// How long a key is published before it signs.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gateway with an upstream, and a client that has been let in.
async fn setup() -> (Notes, Gateway, Client) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    (notes, gateway, client)
}

fn part(token: &str, position: usize) -> Value {
    let text = token.split('.').nth(position).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

/// The key set as somebody sees it who asks this very process.
async fn kids(gateway: &Gateway, host: &str) -> Vec<String> {
    let head = format!("GET /jwks HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (_, body) = Caller::connect(gateway.port()).await.send(head).await.response().await;
    let set: Value = serde_json::from_str(&body).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a process publishes so many keys.
async fn publishes(gateway: &Gateway, host: &str, number: usize) {
    let began = Instant::now();
    while kids(gateway, host).await.len() != number {
        assert!(began.elapsed() < SOON, "after {SOON:?} the process does not know");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn asks(gateway: &Gateway, host: &str, token: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
        "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    Caller::connect(gateway.port()).await.send(post(host, token, body)).await.status().await
}

#[tokio::test]
async fn two_processes_rotate_once_and_believe_each_other_across_a_restart() {
    let (notes, gateway, client) = setup().await;
    let (other, host) = (gateway.beside().await, gateway.host_of(&notes.authority()));
    let old = client.connect().await;
    command(&gateway, &["keys", "rotate", "--algorithm", "EdDSA"]).await;
    publishes(&gateway, &host, 2).await;
    publishes(&other, &host, 2).await;
    let metadata = get_json(&client.browser, &format!("{}/.well-known/openid-configuration", gateway.root())).await;
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    let page = send(&client.browser, Method::GET, &client.endpoint("jwks_uri"), &[], None).await;
    assert_eq!(page.headers[header::CACHE_CONTROL], "public, max-age=300");

    // Half a minute before the new key signs, by the clock of the first process; that of the second is ahead.
    gateway.clock.advance(DAY - Duration::from_secs(30));
    other.clock.advance(DAY + Duration::from_secs(15));
    let (early, _) = other.token_for(&notes.authority()).await;
    let (late, _) = gateway.token_for(&notes.authority()).await;
    assert_eq!((&part(&early, 0)["alg"], &part(&late, 0)["alg"]), (&json!("EdDSA"), &json!("ES256")));
    for token in [&early, &late] {
        assert_eq!((asks(&gateway, &host, token).await, asks(&other, &host, token).await), (200, 200));
    }
    // The first token was for 24 hours, and there are thirty seconds left.
    assert_eq!(asks(&gateway, &host, &old.access).await, 200);
    let gateway = gateway.restart().await;
    assert_eq!(asks(&gateway, &host, &old.access).await, 200);
    gateway.clock.advance(Duration::from_secs(31));
    assert_eq!(asks(&gateway, &host, &old.access).await, 401);
    let (now, _) = gateway.token_for(&notes.authority()).await;
    assert_eq!(part(&now, 0)["alg"], json!("EdDSA"), "no word was needed");
    assert_eq!((asks(&gateway, &host, &now).await, asks(&other, &host, &now).await), (200, 200));
    // A client with an old refresh token notices nothing.
    let (status, answer) = client.refresh(&old.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn a_leaked_key_is_taken_away_within_a_second_everywhere_and_clients_refresh() {
    let (notes, gateway, client) = setup().await;
    let (other, host) = (gateway.beside().await, gateway.host_of(&notes.authority()));
    let ours = client.connect().await;
    let mut events = Caller::connect(other.port()).await;
    events.send(get(&host, &ours.access, "/sse")).await;
    assert_eq!(status(&events.until("\r\n\r\n").await), 200);
    assert_eq!((asks(&gateway, &host, &ours.access).await, asks(&other, &host, &ours.access).await), (200, 200));
    let before = kids(&gateway, &host).await;

    let began = Instant::now();
    let said = command(&gateway, &["keys", "rotate", "--now"]).await;
    events.until("\r\n0\r\n\r\n").await;
    while asks(&gateway, &host, &ours.access).await != 401 {}
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(asks(&other, &host, &ours.access).await, 401);
    let after = kids(&other, &host).await;
    assert!(after.len() == 1 && !before.contains(&after[0]) && said.starts_with(&after[0]), "{said}: {after:?}");
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let renewed = answer["access_token"].as_str().unwrap();
    assert_eq!((asks(&gateway, &host, renewed).await, asks(&other, &host, renewed).await), (200, 200));
}

/// A verifier from npm that asks for the key set once and never again.
struct Jose {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Jose {
    fn start(jwks: &str) -> Self {
        let mut child = node("jwks.mjs").arg(jwks).stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _child: child, stdin, lines: BufReader::new(stdout).lines() }
    }

    async fn verify(&mut self, token: &str, now: i64) -> Value {
        self.stdin.write_all(format!("{}\n", json!({"token": token, "now": now})).as_bytes()).await.unwrap();
        let line = tokio::time::timeout(Duration::from_secs(20), self.lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.expect("jwks.mjs ended")).unwrap()
    }
}

#[tokio::test]
async fn a_verifier_with_a_copy_of_the_key_set_goes_on_across_a_rotation() {
    let (notes, gateway, client) = setup().await;
    let host = gateway.host_of(&notes.authority());
    command(&gateway, &["keys", "rotate", "--algorithm", "EdDSA"]).await;
    publishes(&gateway, &host, 2).await;
    let mut jose = Jose::start(&client.endpoint("jwks_uri"));
    let (before, _) = gateway.token_for(&notes.authority()).await;
    let told = jose.verify(&before, gateway.clock.now().seconds()).await;
    assert_eq!((&told["alg"], &told["fetches"]), (&json!("ES256"), &json!(1)), "{told}");
    gateway.clock.advance(DAY);
    let (after, _) = gateway.token_for(&notes.authority()).await;
    let told = jose.verify(&after, gateway.clock.now().seconds()).await;
    assert_eq!((&told["alg"], &told["fetches"]), (&json!("EdDSA"), &json!(1)), "{told}");
}

#[tokio::test]
async fn b47_openid_client_signs_in_refreshes_and_calls_with_proofs() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let told = drive(node("dpop.mjs"), "dpop.mjs", &mcp_url(&gateway, &notes.authority())).await;
    assert_eq!(told["token_types"], json!(["dpop", "dpop"]), "{told}");
    assert!(told["whoami"].as_str().unwrap().contains("demo"), "{told}");
    assert_eq!((&told["as_bearer"], &told["refresh_without"]), (&json!(401), &json!("invalid_request")), "{told}");
    for bearer in notes.mcp.control.recorder().bearers() {
        assert!(!told["tokens"].as_array().unwrap().contains(&json!(bearer)), "a caller's token went on");
    }
}

/// SECURITY_CASES C: "JWT none/HS-with-public-key/kid `../`, SQL/jku/jwk/crit -> 401, no I/O".
#[tokio::test]
async fn tokens_that_try_to_choose_their_own_key_are_refused_and_nobody_is_asked() {
    let trap = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}").await;
    let (notes, gateway, client) = setup().await;
    let (token, _) = gateway.token_for(&notes.authority()).await;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let set = get_json(&Browser::new().unwrap(), &client.endpoint("jwks_uri")).await;
    let jwk = &set["keys"][0];
    let seen = notes.mcp.control.recorder().requests().len();
    let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let changed = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let attacker = portcullis::devkit::prover::Prover::new().unwrap();
    let mut forgeries = vec![
        format!("{}.{}.", encoded(&changed("alg", json!("none"))), encoded(&claims)),
        format!("{}.{}.", encoded(&changed("alg", json!("nOnE"))), encoded(&claims)),
        format!("{}.{}.", token.split('.').next().unwrap(), encoded(&claims)),
    ];
    // The public key as the secret of a MAC, in every form in which somebody might have it.
    let point = [&[4][..], &decoded(&jwk["x"]), &decoded(&jwk["y"])].concat();
    for secret in [jwk.to_string().into_bytes(), point, decoded(&jwk["x"]), jwk["x"].to_string().into_bytes()] {
        let input = format!("{}.{}", encoded(&changed("alg", json!("HS256"))), encoded(&claims));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        forgeries.push(format!("{input}.{}", BASE64URL_NOPAD.encode(mac.as_ref())));
    }
    let address = format!("http://{}/jwks", trap.authority);
    for (name, value) in [
        ("kid", json!("../../../../etc/passwd")),
        ("kid", json!("' OR '1'='1")),
        ("kid", json!("x'; DROP TABLE signing_keys; --")),
        ("kid", json!(address)),
        ("kid", Value::Null),
        ("jku", json!(address)),
        ("x5u", json!(address)),
        ("jwk", attacker.jwk()),
        ("crit", json!(["exp"])),
        ("typ", json!("JWT")),
    ] {
        forgeries.push(attacker.sign(&changed(name, value.clone()), &claims));
        // The same header around our own signature.
        let signature = token.rsplit('.').next().unwrap();
        forgeries.push(format!("{}.{}.{signature}", encoded(&changed(name, value)), encoded(&claims)));
    }
    for forgery in &forgeries {
        let page = send(
            &client.browser,
            Method::POST,
            &client.url,
            &[("authorization", &format!("Bearer {forgery}"))],
            Some("{}".to_owned()),
        )
        .await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{forgery}");
        assert!(page.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"), "{forgery}");
    }
    assert_eq!(trap.connections(), 0, "an address in a token was called");
    assert_eq!(notes.mcp.control.recorder().requests().len(), seen);
    assert_eq!(kids(&gateway, &gateway.host_of(&notes.authority())).await.len(), 1, "the keys are still there");
}

fn decoded(member: &Value) -> Vec<u8> {
    BASE64URL_NOPAD.decode(member.as_str().unwrap().as_bytes()).unwrap()
}
