//! Real proxies with the recipes of `conf/recipes` in front of a backend that repeats what it gets: `make test-proxies`.

use crate::forward_auth::{IDENTITY, NOTES, behind_a_proxy, cookie_of, root_token};
use crate::gateway::{Gateway, USER, token_at};
use crate::raw::{Caller, RawUpstream, field, status};
use crate::revocation::BOB;
use portcullis::hostname::Realm;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A proxy that runs a recipe.
pub struct Proxy {
    pub port: u16,
    /// Whether it answers 400 to callers that nominate identity headers; otherwise it does not care.
    refuses_nominations: bool,
    process: Child,
    _directory: TempDir,
}

/// Gateway, backend and proxy.
struct World {
    gateway: Gateway,
    backend: RawUpstream,
    proxy: Proxy,
}

#[tokio::test]
#[ignore = "needs nginx: make test-proxies"]
async fn nginx_lets_nobody_pass_but_whom_the_gateway_names() {
    let (gateway, backend) = (behind_a_proxy().await, echo().await);
    let proxy = nginx(&gateway, &backend.authority).await;
    World { gateway, backend, proxy }.keeps_its_promises().await;
}

#[tokio::test]
#[ignore = "needs caddy: make test-proxies"]
async fn caddy_lets_nobody_pass_but_whom_the_gateway_names() {
    let (gateway, backend) = (behind_a_proxy().await, echo().await);
    let proxy = caddy(&gateway, &backend.authority).await;
    World { gateway, backend, proxy }.keeps_its_promises().await;
}

impl World {
    async fn keeps_its_promises(mut self) {
        self.strangers_get_the_challenge().await;
        self.tokens_and_cookies_pass_until_they_end().await;
        self.a17_a24_a25_no_spelling_of_a_forged_header_arrives().await;
        self.a26_what_callers_nominate_is_not_dropped().await;
        self.the_token_of_a_named_host_passes_there().await;
        self.proxy.process.kill().await.unwrap();
    }

    async fn strangers_get_the_challenge(&mut self) {
        let metadata = format!("resource_metadata=\"{}/.well-known/", self.gateway.root());
        let wrong = token_at(self.gateway.app(), USER, &Realm::Mcp(crate::gateway::label(NOTES)), None).await.0;
        for (lines, error) in [
            (vec![], false),
            (vec!["X-User-Id: forged".to_owned()], false),
            (vec!["Authorization: Bearer x".to_owned()], true),
            (vec![format!("Authorization: Bearer {wrong}")], true),
            (
                vec![
                    format!("Authorization: Bearer {wrong}"),
                    format!("X-Forwarded-Host: {}", self.gateway.host_of(NOTES)),
                ],
                true,
            ),
        ] {
            let (head, _) = self.ask("app.example", &lines).await;
            assert_eq!(status(&head), 401, "{lines:?}");
            let challenge = field(&head, "www-authenticate").unwrap_or_else(|| panic!("no challenge: {head}"));
            assert!(challenge.starts_with("Bearer ") && challenge.contains(&metadata), "{challenge}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), error, "{challenge}");
        }
        assert!(!self.backend.has_received());
    }

    async fn tokens_and_cookies_pass_until_they_end(&mut self) {
        let bob = self.gateway.add(BOB).await;
        let (token, grant) = token_at(self.gateway.app(), USER, &Realm::Root, None).await;
        let authorization = [format!("Authorization: Bearer {token}")];
        let head = self.passes("app.example", &authorization).await;
        assert_eq!(field(&head, "x-user-name").as_deref(), Some(USER));
        assert_eq!(field(&head, "x-client-id").as_deref(), Some("test"));
        assert_eq!(field(&head, "authorization"), None);
        self.gateway.app().revocations.grant(grant).await.unwrap();
        assert_eq!(status(&self.ask("app.example", &authorization).await.0), 401, "at once");

        let session = cookie_of(&self.gateway, BOB).await;
        let cookie = [format!("Cookie: a=1; {session}; b=2")];
        let head = self.passes("app.example", &cookie).await;
        assert_eq!(field(&head, "x-user-id"), Some(bob.to_string()));
        assert_eq!(field(&head, "x-client-id").unwrap_or_default(), "");
        let others = field(&head, "cookie").unwrap_or_default();
        assert!(others.starts_with("a=1; ") && others.ends_with("b=2"), "{others}");
        assert!(!head.contains(session.split_once('=').unwrap().1), "the session stays with us: {head}");
        self.gateway.app().revocations.disable(bob).await.unwrap();
        assert_eq!(status(&self.ask("app.example", &cookie).await.0), 401, "at once");
    }

    async fn a17_a24_a25_no_spelling_of_a_forged_header_arrives(&mut self) {
        let credentials = [
            format!("Authorization: Bearer {}", root_token(&self.gateway, USER).await),
            format!("Cookie: {}", cookie_of(&self.gateway, USER).await),
        ];
        for credential in &credentials {
            for name in IDENTITY {
                for spelling in spellings(name) {
                    let forged = format!("{spelling}: forged");
                    let lines = [forged.clone(), credential.clone(), forged];
                    let head = self.passes("app.example", &lines).await;
                    assert!(!head.contains("forged"), "{spelling}: {head}");
                }
            }
        }
    }

    async fn a26_what_callers_nominate_is_not_dropped(&mut self) {
        let authorization = format!("Authorization: Bearer {}", root_token(&self.gateway, USER).await);
        for name in IDENTITY {
            for nominated in [format!("close, {name}"), name.to_ascii_uppercase(), format!("{name}, close")] {
                let lines = [format!("Connection: {nominated}"), authorization.clone()];
                if self.proxy.refuses_nominations {
                    assert_eq!(status(&self.ask("app.example", &lines).await.0), 400, "{nominated}");
                } else {
                    self.passes("app.example", &lines).await;
                }
            }
        }
    }

    async fn the_token_of_a_named_host_passes_there(&mut self) {
        let (token, _) = self.gateway.token_for(NOTES).await;
        let authorization = [format!("Authorization: Bearer {token}")];
        if self.proxy.refuses_nominations {
            return; // This recipe serves one host.
        }
        let host = self.gateway.host_of(NOTES);
        let head = self.passes(&host, &authorization).await;
        assert_eq!(field(&head, "x-user-name").as_deref(), Some(USER));
        let (head, _) = self.ask(&host, &[]).await;
        let challenge = field(&head, "www-authenticate").unwrap();
        assert!(challenge.contains(&self.gateway.url_of(NOTES)), "{challenge}");
    }

    /// The head that the backend got; whoever passes is named once, and by the gateway.
    async fn passes(&mut self, host: &str, lines: &[String]) -> String {
        let (head, body) = self.ask(host, lines).await;
        assert_eq!(status(&head), 200, "{lines:?}: {head}{body}");
        let head = self.backend.received().await.head;
        let users = self.gateway.app().store.users().await.unwrap();
        let names: Vec<(String, &str)> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase().replace('_', "-"), value.trim()))
            .filter(|(name, _)| IDENTITY.contains(&name.as_str()))
            .collect();
        let of = |name: &str| names.iter().filter(|(one, _)| one == name).map(|(_, value)| *value).collect::<Vec<_>>();
        assert!(IDENTITY.iter().all(|name| of(name).len() <= 1), "{head}");
        let user = users.iter().find(|user| of("x-user-name") == [user.name.as_str()]);
        let user = user.unwrap_or_else(|| panic!("nobody is named: {head}"));
        assert_eq!(of("x-user-id"), [user.id.to_string()]);
        head
    }

    async fn ask(&self, host: &str, lines: &[String]) -> (String, String) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut caller = Caller::connect(self.proxy.port).await;
        caller.send(format!("GET /x?y HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).await.response().await
    }
}

/// In every mixture of letter case and separators that a backend could take for the same.
fn spellings(name: &str) -> Vec<String> {
    let (first, rest) = name.split_once('-').unwrap();
    let (second, third) = rest.split_once('-').unwrap();
    let separated = [("-", "-"), ("_", "_"), ("_", "-"), ("-", "_")];
    let lower = separated.map(|(a, b)| format!("{first}{a}{second}{b}{third}"));
    lower.iter().flat_map(|name| [name.clone(), name.to_ascii_uppercase()]).collect()
}

async fn echo() -> RawUpstream {
    RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
}

/// A recipe for this gateway, this backend and this port of ours.
fn recipe(name: &str, gateway: &Gateway, backend: &str, listen: (&str, &str)) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/recipes").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    let (address, domain) = (format!("127.0.0.1:{}", gateway.port()), format!("localhost:{}", gateway.port()));
    for (from, to) in [("127.0.0.1:8080", &*address), ("127.0.0.1:9000", backend), ("gw.example", &domain), listen] {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    text
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn nginx(gateway: &Gateway, backend: &str) -> Proxy {
    let (directory, port) = (TempDir::new().unwrap(), free_port());
    let site = recipe("nginx.conf", gateway, backend, ("listen 80;", &format!("listen 127.0.0.1:{port};")));
    start(nginx_with(&site, &directory), port, false, directory).await
}

/// nginx, not yet started, with these servers and all its files in a directory.
pub fn nginx_with(servers: &str, directory: &TempDir) -> Command {
    let at = directory.path().display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let main = format!(
        "daemon off;\nmaster_process off;\nerror_log {at}/error.log;\npid {at}/nginx.pid;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}{servers}\n}}\n"
    );
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, main).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
    command
}

async fn caddy(gateway: &Gateway, backend: &str) -> Proxy {
    let (directory, port) = (TempDir::new().unwrap(), free_port());
    let address = format!("http://app.example:{port} {{");
    let site = recipe("Caddyfile", gateway, backend, ("\napp.example {", &format!("\n{address}")));
    start(caddy_with(&site, &directory), port, true, directory).await
}

/// Caddy, not yet started, with these sites and all its files in a directory.
pub fn caddy_with(sites: &str, directory: &TempDir) -> Command {
    let file = directory.path().join("Caddyfile");
    let global = "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n";
    std::fs::write(&file, format!("{global}{sites}")).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, directory.path());
    }
    command
}

pub async fn start(mut command: Command, port: u16, refuses_nominations: bool, directory: TempDir) -> Proxy {
    let log = std::fs::File::create(directory.path().join("output.log")).unwrap();
    let mut process = command.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if let Some(status) = process.try_wait().unwrap() {
            panic!("{status}: {}", std::fs::read_to_string(directory.path().join("output.log")).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Proxy { port, refuses_nominations, process, _directory: directory }
}
