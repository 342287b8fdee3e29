//! The program itself, as somebody who has just installed it uses it.

use crate::client::{Client, send};
use crate::speaker::{Speaker, pool};
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::mcp::era::Era;
use rustls_pki_types::CertificateDer;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Nothing here takes longer, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A gateway without open streams stops faster than an init system loses patience.
const QUICKLY: Duration = Duration::from_secs(20);
const PASSWORD: &str = "a password that is long enough";

/// A machine on which nothing has been set up.
pub struct Machine {
    pub home: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let home = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("XDG_STATE_HOME", home)
            .env("PORTCULLIS__SERVER__LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS__SERVER__ADMIN_LISTEN", "")
            // `make coverage` counts lines in these processes, too.
            .envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        finished(&mut self.command(arguments)).await
    }

    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap()
    }

    async fn serve(&self) -> Server {
        Server::start(self.command(&["serve"]), "(http").await
    }

    /// A new certificate in `cert.pem` and `key.pem`.
    fn certify(&self) -> CertificateDer<'static> {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("cert.pem", &pair.cert.pem());
        self.write("key.pem", &pair.signing_key.serialize_pem());
        pair.cert.der().clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }
}

async fn finished(command: &mut Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("the program does not end").unwrap()
}

/// A program that goes on running.
pub struct Server {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has said up to the line that was waited for.
    said: Vec<String>,
}

impl Server {
    pub async fn start(mut command: Command, until: &str) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, lines, said: Vec::new() };
        server.wait_for(until).await;
        server
    }

    /// Reads on until a line has this in it.
    pub async fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it says nothing").unwrap();
            let Some(line) = line else {
                let mut errors = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
                panic!("it ended without saying {text:?}: {:?}\n{errors}", self.said);
            };
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// `http://localhost:<port>`, as announced.
    pub fn root(&self) -> String {
        let line = self.said.iter().find(|line| line.starts_with("listening on 127.0.0.1:")).unwrap();
        line.split(['(', ')']).nth(1).unwrap().to_owned()
    }

    /// What it said besides, until its end.
    pub async fn rest(&mut self) -> String {
        let mut all = self.said.clone();
        while let Some(line) =
            tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it goes on").unwrap()
        {
            all.push(line);
        }
        all.join("\n")
    }

    pub async fn tell(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }

    pub async fn signal(mut self, name: &str) -> ExitStatus {
        self.tell(name).await;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap()
    }
}

/// Reads a log up to a line with this in it.
pub async fn wait_for(log: &mut Lines<impl AsyncBufRead + Unpin>, text: &str) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.unwrap().unwrap_or_else(|| panic!("the log ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{text:?} is not in the log"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(output: &Output, code: i32) -> String {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}{errors}", text(&output.stdout));
    errors
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

async fn open(browser: &Browser, url: &str) -> Page {
    match browser.open(url, "").await.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

async fn sign_in(root: &str, user: &str, password: &str) -> Page {
    let browser = Browser::new().unwrap();
    let login = open(&browser, &format!("{root}/login")).await;
    let who = Credentials { user: user.to_owned(), password: password.to_owned() };
    match browser.fill_login(&login, &who, "").await.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

#[tokio::test]
async fn a_new_gateway_is_claimed_by_the_printed_link_and_stops_when_asked() {
    let machine = Machine::new();
    let mut server = machine.serve().await;
    let claim = server.wait_for("/setup?token=").await;
    let link = claim.split_whitespace().last().unwrap();
    assert!(link.starts_with(&server.root()), "{link}");
    let browser = Browser::new().unwrap();
    let health = send(&browser, Method::GET, &format!("{}/health", server.root()), &[], None).await;
    assert_eq!((health.status, health.body.as_str()), (StatusCode::OK, "{\"status\":\"ok\"}"));

    let page = open(&browser, link).await;
    let form = page.form_with("password_again").unwrap_or_else(|| panic!("no form: {}", page.text()));
    let changes = [("username", "carol"), ("password", PASSWORD), ("password_again", PASSWORD)];
    let Arrived::Page(page) = browser.submit(&page, &form, &changes, "").await.unwrap() else { panic!() };
    assert!(page.status.is_success() && page.text().contains("carol"), "{}", page.text());
    assert_eq!(open(&browser, link).await.status, StatusCode::NOT_FOUND, "the link is good for one");
    assert!(sign_in(&server.root(), "carol", PASSWORD).await.text().contains("carol"));

    let asked = Instant::now();
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
    assert!(asked.elapsed() < QUICKLY, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn people_are_added_while_it_runs() {
    let machine = Machine::new();
    let mut server = machine.serve().await;
    let claim = server.wait_for("/setup?token=").await;
    let add = ["user", "add", "dave", "--admin", "--password-stdin"];
    succeeded(&machine.run_with_input(&add, &format!("{PASSWORD}\n")).await);
    let page = sign_in(&server.root(), "dave", PASSWORD).await;
    assert!(page.status.is_success() && page.text().contains("dave"), "{}", page.text());
    let browser = Browser::new().unwrap();
    let link = claim.split_whitespace().last().unwrap();
    assert_eq!(open(&browser, link).await.status, StatusCode::NOT_FOUND, "it is claimed now");
    let again = machine.run_with_input(&add, &format!("{PASSWORD}\n")).await;
    let errors = failed(&again, 1);
    assert!(errors.contains("already"), "{errors}");
    let list = succeeded(&machine.run(&["user", "list", "--json"]).await);
    assert!(list.contains("\"dave\""), "{list}");
}

#[tokio::test]
async fn the_vault_key_is_made_for_its_owner_alone_and_a_wrong_one_is_noticed() {
    let machine = Machine::new();
    assert_eq!(machine.serve().await.signal("-INT").await.code(), Some(0));
    let key = find(machine.home.path(), "vault.key").expect("no vault key was made");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read_to_string(&key).unwrap();
    assert_eq!(machine.serve().await.signal("-TERM").await.code(), Some(0), "the same key fits");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), first);

    let other = succeeded(&machine.run(&["vault", "keygen"]).await);
    std::fs::write(&key, other).unwrap();
    let errors = failed(&machine.run(&["serve"]).await, 1);
    assert!(errors.contains("vault.key_file"), "{errors}");
    assert!(!errors.contains(first.trim()), "the key is in the message");

    std::fs::write(&key, &first).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let errors = failed(&machine.run(&["serve"]).await, 1);
    assert!(errors.contains("chmod 600"), "{errors}");
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

#[tokio::test]
async fn a_hangup_renews_the_certificates_and_ends_nothing() {
    let machine = Machine::new();
    let first = machine.certify();
    let mut command = machine.command(&["serve"]);
    command
        .env("PORTCULLIS__TLS__MODE", "files")
        .env("PORTCULLIS__TLS__CERT", machine.path("cert.pem"))
        .env("PORTCULLIS__TLS__KEY", machine.path("key.pem"));
    let mut server = Server::start(command, "(https").await;
    let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
    let health = format!("{}/health", server.root());
    let before = Browser::trusting(&[first]).unwrap();
    assert_eq!(open(&before, &health).await.status, StatusCode::OK);

    machine.write("key.pem", "nonsense");
    server.tell("-HUP").await;
    wait_for(&mut log, "tls.key").await;
    let second = machine.certify();
    server.tell("-HUP").await;
    wait_for(&mut log, "was read again").await;
    let after = Browser::trusting(&[second]).unwrap();
    assert_eq!(open(&after, &health).await.status, StatusCode::OK);
    assert_eq!(open(&before, &health).await.status, StatusCode::OK, "the connection is still open");
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_setting_to_mend() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = finished(machine.command(&["serve"]).env("PORTCULLIS__SERVER__LISTEN", &address)).await;
    let errors = failed(&output, 1);
    assert!(errors.contains("server.listen") && errors.contains(&address), "{errors}");
    assert!(errors.contains("another program"), "{errors}");
}

#[tokio::test]
async fn a_database_that_cannot_be_made_is_named_with_the_setting_to_mend() {
    let machine = Machine::new();
    let file = machine.write("file", "");
    let output = finished(machine.command(&["serve"]).env("XDG_STATE_HOME", &file)).await;
    let errors = failed(&output, 1);
    assert!(errors.contains(&file) && errors.contains("store.url"), "{errors}");
}

#[tokio::test]
async fn every_error_of_a_configuration_is_told_with_file_and_line() {
    let machine = Machine::new();
    let bad = "[server]\ndomain = \"not a domain\"\nlissten = [\"127.0.0.1:0\"]\n\n[tokens]\naccess_ttl = \"soon\"\n\n\
               [upstreams]\nunknown = \"perhaps\"\n\n[telemetri]\n";
    let file = machine.write("bad.toml", bad);
    for command in ["check", "serve"] {
        let errors = failed(&machine.run(&[command, "-c", &file]).await, 2);
        for line in [2, 3, 6, 9, 11] {
            assert!(errors.contains(&format!("{file}:{line}:")), "line {line} is not named:\n{errors}");
        }
    }
    let errors = failed(&machine.run(&["check", "-c", &machine.write("broken.toml", "[server\n")]).await, 2);
    assert!(errors.contains("broken.toml:1"), "{errors}");
    let errors = failed(&machine.run(&["-c", "missing.toml", "check"]).await, 2);
    assert!(errors.contains("missing.toml"), "{errors}");
    let output = finished(machine.command(&["check"]).env("PORTCULLIS__TOKENS__ACCESS_TTL", "soon")).await;
    assert!(failed(&output, 2).contains("PORTCULLIS__TOKENS__ACCESS_TTL"));
    let good = machine.write("good.toml", "[server]\ndomain = \"gw.example\"\n[tls]\nmode = \"off\"\n");
    assert!(succeeded(&machine.run(&["check", "-c", &good]).await).contains("valid"));
    assert!(succeeded(&machine.run(&["-c", &good, "check"]).await).contains("valid"));
}

#[tokio::test]
async fn encoding_and_decoding() {
    let machine = Machine::new();
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    assert_eq!(succeeded(&machine.run(&["encode", "mcp.atlassian.com"]).await).trim(), label);
    assert_eq!(succeeded(&machine.run(&["encode", "MCP.Atlassian.com:443"]).await).trim(), label);
    let url = format!("https://{label}.gw.example");
    let output = succeeded(&machine.run(&["encode", "mcp.atlassian.com", "--root", "gw.example"]).await);
    assert!(output.starts_with(&url), "{output}");
    for text in [label, &url, &format!("{label}.gw.example"), &format!("{url}/mcp")] {
        assert_eq!(succeeded(&machine.run(&["decode", text]).await).trim(), "mcp.atlassian.com", "{text}");
    }
    for arguments in [["encode", "mcp.atlassian.com", "--json"], ["decode", label, "--json"]] {
        let output = succeeded(&machine.run(&arguments).await);
        let json: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!((json["domain"].as_str(), json["label"].as_str()), (Some("mcp.atlassian.com"), Some(label)));
    }
    let errors = failed(&machine.run(&["encode", "a-name-that-is-longer-than-36-bytes.example.com"]).await, 1);
    assert!(errors.contains("alias"), "{errors}");
    for bad in ["127.1", "a b", "[::1]:9", "user@host"] {
        failed(&machine.run(&["encode", bad]).await, 1);
    }
    for bad in ["garbage-enc", "notes", "nvrxaltborwgc43tnfqw4ltdn5wr-enc"] {
        failed(&machine.run(&["decode", bad]).await, 1);
    }
}

#[tokio::test]
async fn wrong_usage() {
    let machine = Machine::new();
    let errors = failed(&machine.run(&["sevre"]).await, 2);
    assert!(errors.contains("serve"), "the nearest command is named: {errors}");
    for arguments in [&[][..], &["serve", "--nonsense"], &["user", "add"], &["user", "add", "x"], &["-c"]] {
        failed(&machine.run(arguments).await, 2);
    }
    assert!(succeeded(&machine.run(&["--version"]).await).contains(env!("CARGO_PKG_VERSION")));
    assert!(succeeded(&machine.run(&["--help"]).await).contains("serve"));
    assert!(std::fs::read_dir(machine.home.path()).unwrap().next().is_none(), "nothing was written");
}

#[tokio::test]
async fn the_demo_works_and_leaves_nothing_behind() {
    let machine = Machine::new();
    let server = Server::start(machine.command(&["demo", "--port", "0"]), "Ctrl-C").await;
    let value = |name: &str| {
        let line = server.said.iter().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let notes = server.said.iter().find(|line| line.contains("Streamable HTTP, behind OAuth")).unwrap();
    let url = notes.split_whitespace().next().unwrap();
    let client = Client::ready(url).await;
    let who = Credentials { user: value("User"), password: value("Password") };
    let start = client.authorization_url(&[]);
    let callback = client.browser.authorize(&start, &who, &client.redirect_uri).await.unwrap();
    let ours = client.exchange(&callback.code.unwrap()).await;
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");

    let root = value("Dashboard");
    let (at_once, page) = (everything_of_the_demo(root.trim_end_matches('/'), &who).await, by_button(&root).await);
    for tool in ["notes_whoami", "open_whoami", "program_whoami"] {
        assert!(at_once.iter().any(|name| name == tool), "{tool}: {at_once:?}");
    }
    assert!(page.status.is_success() && page.text().contains("alex"), "{}", page.text());

    let port = url::Url::parse(&root).unwrap().port().unwrap();
    let asked = Instant::now();
    assert_eq!(server.signal("-INT").await.code(), Some(0));
    assert!(asked.elapsed() < QUICKLY, "{:?}", asked.elapsed());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "something still listens");
    let left: Vec<_> = std::fs::read_dir(machine.home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The tools at the demonstration's unified endpoint for somebody who has connected one server.
async fn everything_of_the_demo(root: &str, who: &Credentials) -> Vec<String> {
    let url = format!("{root}/mcp");
    let client = Client::ready(&url).await;
    let callback = client.browser.authorize(&client.authorization_url(&[]), who, &client.redirect_uri).await.unwrap();
    let ours = client.exchange(&callback.code.unwrap()).await;
    Speaker::new(&pool(), &url, &ours.access, Era::Modern).await.tools().await
}

/// Signs in at the identity provider, where the first button is that of an administrator.
async fn by_button(root: &str) -> Page {
    let browser = Browser::new().unwrap();
    let login = open(&browser, &format!("{root}login")).await;
    let button = login.forms().into_iter().find(|form| form.action == "/login/company").expect("there is no button");
    let Arrived::Page(provider) = browser.submit(&login, &button, &[], "").await.unwrap() else { panic!("stopped") };
    let Arrived::Page(page) = browser.approve(&provider, "").await.unwrap() else { panic!("nothing was to stop it") };
    page
}

#[tokio::test]
async fn its_memory_cannot_end_up_in_a_core_file() {
    let machine = Machine::new();
    let server = machine.serve().await;
    let id = server.child.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // What is not dumpable belongs to root, and other processes of the same person cannot read its memory.
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{id}/mem")).unwrap());
    assert_eq!(owner, 0);
    assert!(server.signal("-ABRT").await.code().is_none());
    let left: Vec<_> = std::fs::read_dir(machine.home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("core")), "{left:?}");
}

#[tokio::test]
async fn it_takes_all_the_open_files_that_it_may() {
    let machine = Machine::new();
    let server = machine.serve().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id().unwrap())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = files.split_whitespace().collect::<Vec<_>>()[3..5] else { panic!("{files}") };
    let most = hard.parse::<u64>().unwrap_or(u64::MAX).min(1 << 20);
    assert_eq!(soft.parse::<u64>().unwrap(), most, "{files}");
}
