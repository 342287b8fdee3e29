//! The broker's client libraries (`clients/`): their own tests, and MCP servers that use them against a running gateway,
//! called by the official SDKs, with a real OpenID provider as the service and a person at the browser.

use crate::client::send;
use crate::clients::{node, retell};
use crate::gateway::{Gateway, PASSWORD, without_rates};
use crate::openid::{CLIENT_ID, CLIENT_SECRET, OpenId};
use crate::visitors::without_limits;
use http::Method;
use portcullis::apikey::NewApiKey;
use portcullis::config::{Config, Service, ServiceClient, ServiceName};
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::oauth::quirks::Quirks;
use portcullis::oauth::scope::Scopes;
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(90);
/// The service's name at the broker.
const DIRECTORY: &str = "directory";
/// How long the provider's tokens live.
const TOKEN_LIFE: u64 = 3600;

#[tokio::test]
async fn python_with_fastmcp() {
    let world = World::start().await;
    let server = Server::python(&world, "fastmcp", &[]).await;
    the_whole_loop(&world, server, "auto", "legacy").await;
}

#[tokio::test]
async fn python_with_the_official_sdk() {
    let world = World::start().await;
    let server = Server::python(&world, "official", &[]).await;
    the_whole_loop(&world, server, "legacy", "auto").await;
}

#[tokio::test]
async fn typescript_with_sdk_1() {
    let world = World::start().await;
    let server = Server::typescript(&world, "v1", &[]).await;
    the_whole_loop(&world, server, "", "").await;
}

#[tokio::test]
async fn typescript_with_sdk_2() {
    let world = World::start().await;
    let server = Server::typescript(&world, "v2", &[]).await;
    the_whole_loop(&world, server, "", "").await;
}

/// Alice's client shows the link as text; Bob's opens it while his call waits. Then time passes.
async fn the_whole_loop(world: &World, mut server: Server, mode: &str, mode_of_opener: &str) {
    let alice = json!({"as": "alice", "mode": mode});
    let refused = server.call(&alice).await;
    assert_eq!(refused["error"], true, "{refused}");
    let text = refused["text"].as_str().unwrap();
    assert!(text.contains("directory is not connected for alice"), "{text}");
    let link = text.split_whitespace().find(|word| word.starts_with("http://")).unwrap();

    let somebody_else = world.signed_in_as("bob").await;
    let page = shown(somebody_else.open(link, "").await.unwrap());
    assert!(page.form_with("decision").is_none(), "a link for Alice is not for Bob: {}", page.text());
    world.connect(&world.signed_in_as("alice").await, link, "ada").await;
    let first = server.answer(&alice).await;
    assert_eq!((&first["sub"], &first["source"]), (&json!("ada"), &json!("oauth")), "{first}");
    assert_eq!(server.answer(&alice).await["token"], first["token"], "kept in memory");
    assert_eq!(world.issued().await, 1);

    let asked = server.call(&json!({"as": "bob", "mode": mode_of_opener, "opens": true})).await;
    assert_eq!(asked["mode"], "url", "{asked}");
    world.connect(&somebody_else, asked["open"].as_str().unwrap(), "babbage").await;
    let answer = result(&server.call(&json!({"action": "accept"})).await);
    assert_eq!(answer["sub"], "babbage", "the same call, with Bob's own token: {answer}");

    // Whoever declines is not asked again by the same call.
    world.disconnect("bob").await;
    let past = TOKEN_LIFE - 30;
    let asked = server.call(&json!({"as": "bob", "mode": mode_of_opener, "opens": true, "ahead": past})).await;
    assert_eq!(asked["mode"], "url", "{asked}");
    let declined = server.call(&json!({"action": "decline"})).await;
    assert!(declined["text"].as_str().unwrap().contains("did not want"), "{declined}");

    // The library asks in time, and the broker has a new token by then.
    world.gateway.clock.advance(Duration::from_secs(past));
    let second = server.answer(&alice).await;
    assert_eq!(second["sub"], "ada");
    assert_ne!(second["token"], first["token"], "the first has expired");
}

#[tokio::test]
async fn a_personal_token_of_the_environment_stands_in() {
    let pat = [("PORTCULLIS_PAT_DIRECTORY", "alice's own")];
    for language in ["python", "typescript"] {
        let world = World::start().await;
        let mut server = match language {
            "python" => Server::python(&world, "fastmcp", &pat).await,
            _ => Server::typescript(&world, "v2", &pat).await,
        };
        let alice = json!({"as": "alice", "mode": "auto"});
        let answer = server.answer(&alice).await;
        assert_eq!((&answer["source"], &answer["token"]), (&json!("environment"), &json!("alice's own")), "{language}");
        let link = world.link_for("alice").await;
        world.connect(&world.signed_in_as("alice").await, &link, "ada").await;
        assert_eq!(server.answer(&alice).await["source"], "oauth", "{language}: a connection goes first");
        world.gateway.stop().await;
        let past = json!({"as": "alice", "mode": "auto", "ahead": TOKEN_LIFE});
        assert_eq!(server.answer(&past).await["source"], "environment", "{language}: nobody there");
    }
}

#[tokio::test]
async fn the_python_library_passes_its_own_tests() {
    let mut command = python();
    command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]).current_dir(repository("clients/python"));
    passes(command, "pytest").await;
}

#[tokio::test]
async fn the_typescript_library_passes_its_own_tests() {
    let mut command = node_test("clients/typescript/test/client.test.mjs");
    command.env("PORTCULLIS_CLIENT", typescript_library().await);
    passes(command, "client.test.mjs").await;
}

#[tokio::test]
async fn the_typescript_library_fits_both_sdks() {
    let mut command = node_test("tests/clients/require-auth.test.mjs");
    command.env("PORTCULLIS_CLIENT", typescript_library().await);
    passes(command, "require-auth.test.mjs").await;
}

/// A gateway with a service, its provider, and an API key for it.
struct World {
    gateway: Gateway,
    provider: OpenId,
    key: Secret,
}

impl World {
    async fn start() -> Self {
        let mut provider = OpenId::start().await;
        let issuer = provider.issuer.clone();
        let gateway = Gateway::with(move |config: &mut Config| {
            without_rates(config);
            without_limits(config);
            config.service.push(service(&issuer));
        })
        .await;
        gateway.add("bob").await;
        let client = json!({
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [format!("{}/auth/callback", gateway.root())],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        provider.change(json!({ "clients": [client] })).await;
        for sub in ["ada", "babbage"] {
            provider.account(json!({ "sub": sub })).await;
        }
        let new = NewApiKey {
            name: "directory-server".to_owned(),
            scopes: Vec::new(),
            resources: Vec::new(),
            services: vec![DIRECTORY.to_owned()],
            users: Vec::new(),
            ttl: None,
        };
        let key = gateway.app().api_keys.create(&new).await.unwrap().key;
        Self { gateway, provider, key }
    }

    async fn signed_in_as(&self, name: &str) -> Browser {
        let browser = Browser::new().unwrap();
        let login = shown(browser.open(&format!("{}/login", self.gateway.root()), "").await.unwrap());
        let who = Credentials { user: name.to_owned(), password: PASSWORD.to_owned() };
        shown(browser.fill_login(&login, &who, "").await.unwrap());
        browser
    }

    /// The person opens a link, approves, and signs in at the provider as `account`.
    async fn connect(&self, browser: &Browser, link: &str, account: &str) {
        let page = shown(browser.open(link, "").await.unwrap());
        let page = shown(browser.approve(&page, "").await.unwrap());
        let form = page.form_with("account").unwrap_or_else(|| panic!("no provider: {}", page.text()));
        let end = browser.submit(&page, &form, &[("account", account), ("decision", "approve")], "").await.unwrap();
        let end = shown(end);
        assert!(end.status.is_success() && end.url.as_str().starts_with(&self.gateway.root()), "{}", end.text());
    }

    async fn link_for(&self, name: &str) -> String {
        let answer: Value = serde_json::from_str(&self.ask(Method::POST, "/auth/init", name).await).unwrap();
        answer["auth_url"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn disconnect(&self, name: &str) {
        assert_eq!(self.ask(Method::DELETE, "/auth/revoke", name).await, "");
    }

    /// The body of the broker's answer.
    async fn ask(&self, method: Method, path: &str, name: &str) -> String {
        let url = format!("{}{path}", self.gateway.root());
        let headers = [("x-api-key", self.key.expose()), ("content-type", "application/json")];
        let body = json!({"service": DIRECTORY, "user_id": name}).to_string();
        send(&Browser::new().unwrap(), method, &url, &headers, Some(body)).await.body
    }

    /// How many tokens the broker has handed out.
    async fn issued(&self) -> usize {
        let app = self.gateway.app();
        app.audit.flush().await;
        let events = app.store.audit(1000).await.unwrap();
        events.iter().filter(|event| event.action == "service.token_issued").count()
    }
}

/// The provider as a service, with its own names for its addresses.
fn service(issuer: &str) -> Service {
    Service {
        name: ServiceName::parse(DIRECTORY).unwrap(),
        label: "Directory".to_owned(),
        client: Some(ServiceClient {
            issuer: Some(issuer.to_owned()),
            authorization_endpoint: format!("{issuer}/auth"),
            token_endpoint: format!("{issuer}/token"),
            revocation_endpoint: None,
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(Secret::new(CLIENT_SECRET.to_owned())),
            scopes: Scopes::parse("openid").unwrap(),
            quirks: Quirks { takes_resource: false, ..Quirks::default() },
        }),
        pat: None,
        allow_private: true,
    }
}

/// A driver of `tests/clients`: an MCP server with a tool that asks the provider who its token belongs to, and clients.
struct Server {
    name: String,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Server {
    async fn python(world: &World, framework: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = python();
        command.arg(repository("tests/clients/require_auth.py")).arg(framework);
        Self::start(command, world, framework, environment).await
    }

    async fn typescript(world: &World, version: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = node("require-auth.mjs");
        command.arg(version).env("PORTCULLIS_CLIENT", typescript_library().await);
        Self::start(command, world, version, environment).await
    }

    async fn start(mut command: Command, world: &World, name: &str, environment: &[(&str, &str)]) -> Self {
        command.arg(format!("{}/me", world.provider.issuer)).envs(environment.iter().copied());
        command.env("PORTCULLIS_URL", world.gateway.root()).env("PORTCULLIS_API_KEY", world.key.expose());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        tokio::spawn(retell(name.to_owned(), child.stderr.take().unwrap()));
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { name: name.to_owned(), stdin, lines, _child: child };
        assert_eq!(this.line().await, json!({"ready": true}));
        this
    }

    /// Sends a line, and returns the next.
    async fn call(&mut self, line: &Value) -> Value {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.line().await
    }

    /// What the tool told of its token.
    async fn answer(&mut self, line: &Value) -> Value {
        result(&self.call(line).await)
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} is slow", self.name)).unwrap();
        serde_json::from_str(&line.unwrap_or_else(|| panic!("{} ended; its error is above", self.name))).unwrap()
    }
}

fn result(told: &Value) -> Value {
    assert_eq!(told["error"], false, "{told}");
    let answer: Value = serde_json::from_str(told["text"].as_str().unwrap()).unwrap();
    assert_eq!(answer["greeting"], "hello", "arguments arrive");
    answer
}

fn shown(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

/// Python with clients/python, which leaves nothing behind.
fn python() -> Command {
    let python = repository("tests/clients/.venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let mut command = Command::new(python);
    command.env("PYTHONPATH", repository("clients/python/src")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// clients/typescript, compiled once for all tests of this process.
async fn typescript_library() -> &'static str {
    static LIBRARY: OnceCell<String> = OnceCell::const_new();
    let build = async || {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portcullis-client");
        let mut compiler = Command::new(repository("tests/clients/node_modules/.bin/tsc"));
        compiler.arg("-p").arg(repository("clients/typescript")).arg("--outDir").arg(&built);
        compiler.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Node takes these files for modules by what stands beside them.
        std::fs::create_dir_all(&built).unwrap();
        std::fs::write(built.join("package.json"), r#"{"type": "module"}"#).unwrap();
        passes(compiler, "tsc").await;
        format!("file://{}", built.join("index.js").display())
    };
    LIBRARY.get_or_init(build).await
}

fn node_test(file: &str) -> Command {
    let mut command = Command::new("node");
    command.args(["--test", "--test-reporter=spec"]).arg(repository(file));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn passes(mut command: Command, name: &str) {
    let output = timeout(PATIENCE, command.stdin(Stdio::null()).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{name} took more than {PATIENCE:?}")).unwrap();
    let (told, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{told}\n{complaints}", output.status);
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
