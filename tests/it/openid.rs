//! A real OpenID provider (`oidc-provider` from npm) in a process of its own, and its accounts.

use crate::clients::{node, retell};
use portcullis::config::{Allowed, OidcLogin};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

const SCRIPT: &str = "identity.mjs";
const PATIENCE: Duration = Duration::from_secs(60);
pub const CLIENT_ID: &str = "portcullis";
pub const CLIENT_SECRET: &str = "hunter2 of the provider: 100%";

/// The provider; it ends with this value.
pub struct OpenId {
    pub issuer: String,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl OpenId {
    /// With nobody in it, and no client.
    pub async fn start() -> Self {
        let mut child = node(SCRIPT).stdin(Stdio::piped()).spawn().unwrap();
        tokio::spawn(retell(SCRIPT.to_owned(), child.stderr.take().unwrap()));
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { issuer: String::new(), stdin, lines, _child: child };
        this.issuer = this.line().await["issuer"].as_str().unwrap().to_owned();
        this
    }

    /// How a gateway is configured for it, with nobody let in yet.
    pub fn settings(&self) -> OidcLogin {
        OidcLogin {
            name: "company".to_owned(),
            label: "Company".to_owned(),
            issuer: self.issuer.clone(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(Secret::new(CLIENT_SECRET.to_owned())),
            scopes: "openid profile email groups".to_owned(),
            allowed_domains: Some(Allowed::These(Vec::new())),
            allowed_groups: None,
            admin_groups: Vec::new(),
            groups_claim: "groups".to_owned(),
            id_jag: false,
            allow_private: true,
        }
    }

    /// Registers the gateway at `root` as a client with this method, and changes whatever else is said.
    pub async fn serve(&mut self, root: &str, method: &str, others: Value) {
        let mut client = json!({
            "client_id": CLIENT_ID,
            "redirect_uris": [format!("{root}/login/company/callback")],
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code"],
        });
        if method != "none" {
            client["client_secret"] = json!(CLIENT_SECRET);
        }
        let mut change = others;
        change["clients"] = json!([client]);
        self.change(change).await;
    }

    pub async fn account(&mut self, claims: Value) {
        self.change(json!({ "account": claims })).await;
    }

    pub async fn change(&mut self, change: Value) {
        self.stdin.write_all(format!("{change}\n").as_bytes()).await.unwrap();
        assert_eq!(self.line().await, "ok");
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the provider is slow").unwrap();
        serde_json::from_str(&line.expect("the provider ended; its error is above")).unwrap()
    }
}
