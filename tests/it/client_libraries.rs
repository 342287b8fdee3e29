//! The broker's client libraries (`clients/`): their own tests, and MCP servers that use them against a running gateway,
//! called by the official SDKs, with `oidc-provider` as the service and a person at the browser.

use crate::broker::world::{BOB, Shape, World, bob, browser_of, shown};
use crate::client::alice;
use crate::clients::{node, retell};
use crate::gateway::USER;
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Browser, Credentials};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(180);
/// How long the provider's tokens live, in seconds.
const TOKEN_LIFE: u64 = 3600;
const PAT: (&str, &str) = ("PORTCULLIS_PAT_GOOGLE", "somebody's own");

#[tokio::test]
async fn python_with_fastmcp() {
    let world = World::new(Shape::Google).await;
    let server = Server::python(&world, "fastmcp", &[]).await;
    the_whole_loop(&world, server, "auto", "legacy").await;
}

#[tokio::test]
async fn python_with_the_official_sdk() {
    let world = World::new(Shape::Google).await;
    let server = Server::python(&world, "official", &[]).await;
    the_whole_loop(&world, server, "legacy", "auto").await;
}

#[tokio::test]
async fn typescript_with_sdk_1() {
    let world = World::new(Shape::Google).await;
    let server = Server::typescript(&world, "v1", &[]).await;
    the_whole_loop(&world, server, "", "").await;
}

#[tokio::test]
async fn typescript_with_sdk_2() {
    let world = World::new(Shape::Google).await;
    let server = Server::typescript(&world, "v2", &[]).await;
    the_whole_loop(&world, server, "", "").await;
}

/// Alice's client shows the link as text; Bob's opens it while his call waits. Then time passes.
async fn the_whole_loop(world: &World, mut server: Server, mode: &str, mode_of_opener: &str) {
    let alices = json!({"as": USER, "mode": mode});
    let bobs_browser = browser_of(world, &bob()).await;
    let first = by_text(world, &mut server, &alices, &bobs_browser).await;

    let opener = json!({"as": BOB, "mode": mode_of_opener, "opens": true});
    let own = by_elicitation(&mut server, &opener, &bobs_browser).await;
    assert_ne!(own["token"], first["token"], "Bob has a token of his own");
    let later = TOKEN_LIFE - 30;
    let connection = json!({"service": "google", "user_id": BOB});
    assert_eq!(world.ask(Method::DELETE, "/auth/revoke", connection).await.0, StatusCode::NO_CONTENT);
    declining(&mut server, &json!({"as": BOB, "mode": mode_of_opener, "opens": true, "ahead": later})).await;

    // The library asks in time, and the broker has a new token by then.
    world.gateway.clock.advance(Duration::from_secs(later));
    let second = server.answer(&alices).await;
    assert_eq!(second["sub"], "ada");
    assert_ne!(second["token"], first["token"], "the first is about to expire");
}

/// A link as text, which is for Alice alone; her token afterwards.
async fn by_text(world: &World, server: &mut Server, alices: &Value, bobs_browser: &Browser) -> Value {
    let refused = server.call(alices).await;
    assert_eq!(refused["error"], true, "{refused}");
    let text = refused["text"].as_str().unwrap();
    assert!(text.contains("google is not connected for alice"), "{text}");
    let link = text.split_whitespace().find(|word| word.starts_with("http://")).unwrap();

    let page = shown(bobs_browser.open(link, "").await.unwrap());
    assert!(page.form_with("decision").is_none(), "a link for Alice is not for Bob: {}", page.text());
    connect(&world.browser, link, &alice()).await;
    let first = server.answer(alices).await;
    assert_eq!((&first["sub"], &first["source"]), (&json!("ada"), &json!("oauth")), "{first}");
    assert_eq!(server.answer(alices).await["token"], first["token"]);
    assert_eq!(issued(world).await, 1, "kept in memory");
    first
}

/// A link that the client opens while the call waits; the token with which it goes on.
async fn by_elicitation(server: &mut Server, opener: &Value, bobs_browser: &Browser) -> Value {
    let asked = server.call(opener).await;
    assert_eq!(asked["mode"], "url", "{asked}");
    connect(bobs_browser, asked["open"].as_str().unwrap(), &bob()).await;
    let own = result(&server.call(&json!({"action": "accept"})).await);
    assert_eq!(own["sub"], "ada", "the same call goes on: {own}");
    own
}

/// Whoever declines is not asked again by the same call.
async fn declining(server: &mut Server, opener: &Value) {
    let asked = server.call(opener).await;
    assert_eq!(asked["mode"], "url", "{asked}");
    let declined = server.call(&json!({"action": "decline"})).await;
    assert!(declined["text"].as_str().unwrap().contains("did not want"), "{declined}");
}

#[tokio::test]
async fn a_personal_token_of_the_environment_stands_in_in_python() {
    let world = World::new(Shape::Google).await;
    let server = Server::python(&world, "fastmcp", &[PAT]).await;
    the_personal_token(world, server).await;
}

#[tokio::test]
async fn a_personal_token_of_the_environment_stands_in_in_typescript() {
    let world = World::new(Shape::Google).await;
    let server = Server::typescript(&world, "v2", &[PAT]).await;
    the_personal_token(world, server).await;
}

async fn the_personal_token(world: World, mut server: Server) {
    let alices = json!({"as": USER, "mode": "auto"});
    let answer = server.answer(&alices).await;
    assert_eq!((&answer["source"], &answer["token"]), (&json!("environment"), &json!(PAT.1)));
    world.connect().await;
    assert_eq!(server.answer(&alices).await["source"], "oauth", "a connection goes first");
    world.gateway.stop().await;
    let later = json!({"as": USER, "mode": "auto", "ahead": TOKEN_LIFE});
    assert_eq!(server.answer(&later).await["source"], "environment", "there is no broker");
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

/// How many tokens the broker has handed out.
async fn issued(world: &World) -> usize {
    world.audit().await.iter().filter(|(_, action, _)| action == "service.token_issued").count()
}

/// The person follows a link to its end.
async fn connect(browser: &Browser, link: &str, who: &Credentials) {
    let page = browser.let_device_in(link, who).await.unwrap();
    assert!(page.text().contains("is connected"), "{}", page.text());
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
        command.arg(format!("{}/whoami", world.provider.issuer)).envs(environment.iter().copied());
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
