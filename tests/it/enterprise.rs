//! Enterprise-Managed Authorization: the official client, an identity provider that vouches for people, and no browser.

use crate::clients::{node, retell};
use crate::gateway::{Gateway, USER, label, upstream};
use crate::upstreams::anywhere;
use portcullis::config::{Allowed, OidcLogin, UpstreamAuth};
use portcullis::devkit::mcp::{McpServer, Protection};
use portcullis::hostname::Realm;
use portcullis::ids::Random;
use portcullis::machine::{self, CreatedMachineClient, MachineProof, NewMachineClient};
use portcullis::oauth::grant_type::GrantType;
use portcullis::store::{LinkedIdentity, User};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

const DRIVER: &str = "ts-v2-enterprise.mjs";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn typescript_sdk_2_across_applications() {
    let notes = McpServer::start(anywhere(), Random::default(), Protection::Open).await.unwrap();
    let authority = notes.address().to_string();
    let mut driver = Driver::start().await;
    let provider = provider(driver.line().await["issuer"].as_str().unwrap());
    let issuer = provider.issuer.clone();
    let upstream_authority = authority.clone();
    let gateway = Gateway::with(move |config| {
        config.upstream.push(upstream(&upstream_authority, UpstreamAuth::None));
        config.login.oidc.push(provider.clone());
    });
    let gateway = gateway.await;
    let alice = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    link(&gateway, &issuer, &alice).await;
    let client = client(&gateway, &authority, &alice).await;
    let url = crate::client::mcp_url(&gateway, &authority);
    let secret = client.secret.unwrap();
    driver.tell(&json!({"url": url, "clientId": client.id, "clientSecret": secret.expose()})).await;

    let told = driver.line().await;
    assert_eq!((&told["echo"], &told["refreshed"]), (&json!("Grüße"), &json!(false)), "{told}");
    assert_eq!(told["granted"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["granted"][0]["resource"], json!(url));
    let token = gateway.app().tokens.verify(told["bearer"].as_str().unwrap()).unwrap();
    assert_eq!((token.user, &*token.client_id, &*token.audience), (alice.id, client.id.as_str(), url.as_str()));
}

fn provider(issuer: &str) -> OidcLogin {
    OidcLogin {
        name: "company".to_owned(),
        label: "Company".to_owned(),
        issuer: issuer.to_owned(),
        client_id: "portcullis".to_owned(),
        client_secret: None,
        scopes: "openid".to_owned(),
        allowed_domains: Some(Allowed::Everybody),
        allowed_groups: None,
        admin_groups: Vec::new(),
        groups_claim: "groups".to_owned(),
        id_jag: true,
        allow_private: true,
    }
}

/// As if the person had signed in with the provider.
async fn link(gateway: &Gateway, issuer: &str, user: &User) {
    let now = gateway.clock.now();
    let identity = LinkedIdentity {
        issuer: issuer.to_owned(),
        subject: "U019488227".to_owned(),
        provider: "company".to_owned(),
        user: user.id,
        name: "Alice".to_owned(),
        email: None,
        created_at: now,
        last_used_at: now,
    };
    gateway.app().store.link_identity(&identity).await.unwrap();
}

async fn client(gateway: &Gateway, authority: &str, owner: &User) -> CreatedMachineClient {
    let new = NewMachineClient {
        name: "agent".to_owned(),
        owner: owner.id,
        realm: Realm::Mcp(label(authority)),
        scope: None,
        grant_types: [GrantType::JwtBearer].into_iter().collect(),
        proof: MachineProof::Secret,
    };
    machine::create(&gateway.app().store, &gateway.clock, &Random::default(), &new).await.unwrap()
}

/// The client and the identity provider; they end with this value.
struct Driver {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Driver {
    async fn start() -> Self {
        let mut child = node(DRIVER).stdin(Stdio::piped()).spawn().unwrap();
        tokio::spawn(retell(DRIVER.to_owned(), child.stderr.take().unwrap()));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { stdin, lines: BufReader::new(stdout).lines(), _child: child }
    }

    async fn tell(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the driver is slow").unwrap();
        serde_json::from_str(&line.expect("the driver ended; its error is above")).unwrap()
    }
}
