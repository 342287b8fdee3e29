//! Devices without a browser, from outside: `portcullis login` as a process, and clients that the project did not write. The
//! person at the browser is always the scripted one.

use crate::client::{Client, alice, mcp_url, send};
use crate::gateway::{Gateway, USER};
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Browser, Page};
use portcullis::hostname::Realm;
use portcullis::secret::Secret;
use portcullis::store::Role;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A device waits five seconds before it asks.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_command_line_logs_in_and_out_at_an_mcp_server() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let (machine, url) = (Machine::new(), mcp_url(&gateway, &notes.authority()));
    let early = machine.run(&["token", &url]).await;
    assert_eq!((early.status.code(), text(&early.stdout).as_str()), (Some(1), ""));
    assert!(text(&early.stderr).contains(&format!("portcullis login {url}")), "{}", text(&early.stderr));

    let mut login = Running::start(machine.command(&["login", &url]));
    let complete = login.line_with("user_code=").await;
    let complete = complete.split(' ').find(|word| word.contains("user_code=")).unwrap();
    let done = Browser::new().unwrap().let_device_in(complete, &alice()).await.unwrap();
    assert_eq!(done.title(), "Your device has access now · Portcullis");
    assert!(login.line_with("portcullis token").await.contains(&url));
    assert!(login.end().await.success());

    let token = machine.token(&url).await;
    let client = Client::discover(&url, "").await;
    let (status, body) = client.call(&token, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mode = std::fs::metadata(machine.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Of many processes that find the token too old one refreshes it, and all go on.
    machine.make_expire();
    let mut running = Vec::new();
    for _ in 0..8 {
        running.push(machine.command(&["token", &url]).spawn().unwrap());
    }
    let mut renewed = Vec::new();
    for child in running {
        let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        renewed.push(text(&output.stdout));
    }
    renewed.dedup();
    assert!(renewed.len() == 1 && renewed[0].trim() != token, "{renewed:?}");
    let token = renewed[0].trim();
    assert_eq!(client.call(token, "whoami").await.0, StatusCode::OK);

    let kept: Value = serde_json::from_str(&std::fs::read_to_string(machine.file()).unwrap()).unwrap();
    let client_id = kept["servers"][&url]["client_id"].as_str().unwrap();
    let realm = Realm::Mcp(crate::gateway::label(&notes.authority())).key();
    assert!(gateway.app().store.client(&realm, client_id).await.unwrap().is_some());
    assert!(machine.run(&["logout", &url]).await.status.success());
    assert_eq!(client.call(token, "whoami").await.0, StatusCode::UNAUTHORIZED);
    assert!(gateway.app().store.client(&realm, client_id).await.unwrap().is_none(), "its registration is gone too");
    assert!(!std::fs::read_to_string(machine.file()).unwrap().contains(&url));
    assert_eq!(machine.run(&["token", &url]).await.status.code(), Some(1));
    assert_eq!(machine.run(&["logout", &url]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_command_line_gets_the_administration_from_administrators_alone() {
    let gateway = Gateway::start().await;
    let (machine, root) = (Machine::new(), gateway.root());
    let bob = Secret::new("a password that is long enough".to_owned());
    gateway.app().identity.create("bob", &bob, Role::Member).await.unwrap();
    let member = portcullis::devkit::browser::Credentials { user: "bob".to_owned(), password: bob.expose().to_owned() };

    let mut refused = Running::start(machine.command(&["login", "--json", &root]));
    let told = refused.json().await;
    let complete = told["verification_uri_complete"].as_str().unwrap();
    let browser = Browser::new().unwrap();
    let page = browser.let_device_in(complete, &member).await.unwrap();
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    let cancel = page.body.split('"').find(|text| text.contains("cancel=administrator")).unwrap();
    let cancel = cancel.replace("&#38;", "&").replace("&amp;", "&");
    let told = send(&browser, Method::GET, &format!("{root}{cancel}"), &[], None).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());

    let mut approved = Running::start(machine.command(&["login", "--json", &root]));
    let told = approved.json().await;
    let page = Browser::new().unwrap();
    page.let_device_in(told["verification_uri_complete"].as_str().unwrap(), &alice()).await.unwrap();
    assert!(refused.errors().await.contains("access was denied"));
    assert_eq!(approved.json().await, json!({ "server": root, "logged_in": true }));
    assert!(approved.end().await.success());
    let token = gateway.app().tokens.verify(&machine.token(&root).await).unwrap();
    assert_eq!((&*token.audience, &*token.scope), (format!("{root}/api/v1").as_str(), "admin"));
    let alice = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    assert_eq!(token.user, alice.id);
}

#[tokio::test]
async fn whoever_gives_up_or_mistypes_keeps_nothing() {
    let gateway = Gateway::start().await;
    let machine = Machine::new();
    let mut login = Running::start(machine.command(&["login", &gateway.root()]));
    login.line_with("Ctrl-C").await;
    let id = login.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    assert!(login.errors().await.contains("interrupted"));
    assert!(!machine.file().exists());
    for (url, why) in [
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("http://gw.example", "https"),
        ("ftp://gw.example", "not the address"),
        (&format!("{}/health", gateway.root()), "status 404"),
    ] {
        let output = machine.run(&["login", url]).await;
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(text(&output.stderr).contains(why), "{url}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn openid_client() {
    let directory = clients().join("node_modules");
    assert!(directory.is_dir(), "{} is missing: run `make deps`", directory.display());
    let mut command = Command::new("node");
    command.arg("--import").arg(clients().join("localhost.mjs")).arg(clients().join("openid-client.mjs"));
    let told = foreign(command).await;
    assert_eq!(told["afterwards"], "invalid_grant", "{told}");
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    assert!(told["supports"].as_array().unwrap().contains(&json!(device)), "{told}");
}

#[tokio::test]
async fn b45_authlib() {
    let python = clients().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let mut command = Command::new(python);
    command.arg(clients().join("authlib_client.py"));
    let told = foreign(command).await;
    assert_eq!(told["refusals"], json!(["authorization_pending", "slow_down"]), "{told}");
    assert_eq!(told["revoked"], 200);
    assert_ne!(told["first"], told["device"], "refreshed");
}

/// Runs a client that the project did not write through the device flow and the code flow; what it tells in the end.
async fn foreign(mut command: Command) -> Value {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let url = mcp_url(&gateway, &notes.authority());
    command.arg(gateway.url_of(&notes.authority())).arg(&url).env("HOME", gateway.directory());
    let mut running = Running::start(command);
    let device = running.json().await;
    let browser = Browser::new().unwrap();
    let page = browser.let_device_in(device["open"].as_str().unwrap(), &alice()).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    running.answer(page.url.as_str()).await;
    let code = running.json().await;
    let stop = code["stop"].as_str().unwrap();
    let callback = Browser::new().unwrap().authorize(code["open"].as_str().unwrap(), &alice(), stop).await.unwrap();
    running.answer(&callback.url).await;
    let told = running.json().await;
    assert!(running.end().await.success());
    let client = Client::discover(&url, "").await;
    // The device's grant was revoked, the other one stays.
    assert_eq!(client.call(told["device"].as_str().unwrap(), "whoami").await.0, StatusCode::UNAUTHORIZED, "{told}");
    assert_eq!(client.call(told["code"].as_str().unwrap(), "whoami").await.0, StatusCode::OK, "{told}");
    told
}

#[tokio::test]
async fn b44_a_link_is_not_enough() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let url = mcp_url(&gateway, &notes.authority());
    let metadata = json!({
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
        "token_endpoint_auth_method": "none",
    });
    let client = Client::discover(&url, "").await.register(metadata).await;
    let form = crate::visitors::encoded(&[("client_id", &client.client_id), ("resource", &url)]);
    let endpoint = client.endpoint("device_authorization_endpoint");
    let answer = send(&client.browser, Method::POST, &endpoint, &[], Some(form)).await;
    let device: Value = serde_json::from_str(&answer.body).unwrap();
    let (browser, _) = crate::visitors::signed_in(&gateway).await;
    let complete = device["verification_uri_complete"].as_str().unwrap();
    let page = send(&browser, Method::GET, complete, &[("sec-fetch-site", "cross-site")], None).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()),
        ("client_id", client.client_id.clone()),
        ("device_code", device["device_code"].as_str().unwrap().to_owned()),
    ];
    assert_eq!(client.token_request(&poll).await.1["error"], "authorization_pending");
    // A foreign page cannot send the form, even with its token.
    let token = crate::visitors::csrf_token(&page);
    let form =
        crate::visitors::encoded(&[("csrf_token", &token), ("user_code", device["user_code"].as_str().unwrap())]);
    let device_page = format!("{}/device", gateway.root());
    for (origin, site) in [("https://evil.example", "cross-site"), (&gateway.url_of(&notes.authority()), "same-site")] {
        let fields = [("origin", origin), ("sec-fetch-site", site)];
        let page: Page = send(&browser, Method::POST, &device_page, &fields, Some(form.clone())).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{origin}");
    }
}

/// Somebody's machine, with nothing on it.
struct Machine {
    home: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.command(arguments).output()).await.unwrap().unwrap()
    }

    async fn token(&self, url: &str) -> String {
        let output = self.run(&["token", url]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".config/portcullis/credentials.json")
    }

    fn make_expire(&self) {
        let mut kept: Value = serde_json::from_str(&std::fs::read_to_string(self.file()).unwrap()).unwrap();
        for entry in kept["servers"].as_object_mut().unwrap().values_mut() {
            entry["expires_at"] = json!(0);
        }
        std::fs::write(self.file(), kept.to_string()).unwrap();
    }
}

/// A program that says something, and may be told something.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        match timeout(PATIENCE, self.lines.next_line()).await.expect("it says nothing").unwrap() {
            Some(line) => line,
            None => panic!("it ended: {}", self.errors().await),
        }
    }

    async fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line().await;
            if line.contains(part) {
                return line;
            }
        }
    }

    async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    async fn answer(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits for its failure; what it said about it.
    async fn errors(&mut self) -> String {
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        timeout(PATIENCE, stderr.read_to_string(&mut errors)).await.expect("it does not end").unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(1), "{errors}");
        errors
    }

    async fn end(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}
