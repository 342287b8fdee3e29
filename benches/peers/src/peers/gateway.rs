//! The gateway under test: the real program, a configuration file, a person, a machine client, and tokens as a client gets them.

use super::program::{fill, template};
use super::token::Public;
use super::{Front, Ground, PORTCULLIS, Target, home};
use crate::certificate::{DOMAIN, UPSTREAM};
use crate::load::block_on;
use crate::load::http1::{Call, Connection};
use crate::message::Body;
use crate::process::{Program, free_address};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

const PASSWORD: &str = "a password that is long enough";

/// What only the gateway can do.
#[derive(Debug, Clone)]
pub struct Gateway {
    address: SocketAddr,
    front: Front,
    host: String,
    /// `Basic` credentials of the machine client.
    credentials: String,
    program: PathBuf,
    configuration: PathBuf,
    /// The upstream's name in the gateway's configuration.
    upstream: String,
}

pub(super) fn start(ground: &Ground, front: Front, configuration: &str) -> Result<(Target, Public), String> {
    let directory = home(ground, PORTCULLIS, front)?;
    let (address, admin) = (free_address()?, free_address()?);
    let file = directory.join(configuration);
    let text = fill(ground, template(&file)?, address, &directory).replace("{{admin}}", &admin.to_string());
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut program = serve(ground, &directory, &file)?;
    program.answers(admin)?;
    program.answers(address)?;
    let upstream = match front {
        Front::H2Upstream => format!("{UPSTREAM}:{}", ground.mock.tls.port()),
        Front::Plain | Front::Tls => ground.mock.plain.to_string(),
    };
    let portcullis = &ground.options.portcullis;
    call(portcullis, &file, &["user", "add", "bench", "--password-stdin"], PASSWORD)?;
    let domain = if front == Front::Tls { DOMAIN } else { "localhost" };
    let mut gateway = Gateway {
        address,
        front,
        host: String::new(),
        credentials: String::new(),
        program: portcullis.clone(),
        configuration: file,
        upstream,
    };
    let (realm, credentials) = gateway.client("bench")?;
    gateway.host = format!("{realm}.{domain}:{}", address.port());
    gateway.credentials = credentials;
    let token = gateway.tokens(1)?.remove(0);
    let public = gateway.public()?;
    let target = Target {
        name: PORTCULLIS,
        program: Some(program),
        address,
        host: gateway.host.clone(),
        token,
        swaps: true,
        gateway: Some(gateway),
    };
    Ok((target, public))
}

/// Where the upstream has a name, the program sees another hosts file: the gateway speaks TLS to every name but loopback ones.
fn serve(ground: &Ground, directory: &Path, file: &Path) -> Result<Program, String> {
    let portcullis = ground.options.portcullis.as_os_str();
    let serve = [portcullis, OsStr::new("serve"), OsStr::new("-c"), file.as_os_str()];
    if !file.ends_with("portcullis-h2-upstream.toml") {
        return Program::start(directory, "output", ground.cores, &serve);
    }
    let hosts = directory.join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {UPSTREAM}\n")).map_err(|error| error.to_string())?;
    let script = "mount --bind hosts /etc/hosts && exec \"$@\"";
    let apart = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"].map(OsStr::new);
    Program::start(directory, "output", ground.cores, &[&apart[..], &serve[..]].concat())
}

/// Starts a gateway with so many upstreams more in its configuration, and says how long it took until it was ready.
pub fn start_time(ground: &Ground, upstreams: usize) -> Result<(Program, Duration), String> {
    let directory = home(ground, PORTCULLIS, Front::Plain)?;
    let (address, admin) = (free_address()?, free_address()?);
    let file = directory.join("portcullis.toml");
    let mut text = fill(ground, template(&file)?, address, &directory).replace("{{admin}}", &admin.to_string());
    for number in 0..upstreams {
        text.push_str(&format!("\n[[upstream]]\ndomain = \"mcp-{number}.example.com\"\nalias = \"a{number}\"\n"));
    }
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let started = Instant::now();
    let mut program = serve(ground, &directory, &file)?;
    program.answers(admin)?;
    let ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    loop {
        let asked = block_on(async { exchange(&mut Connection::plain(admin).await?, ready).await });
        if asked.is_ok_and(|(status, _)| status == 200) {
            return Ok((program, started.elapsed()));
        }
        program.check()?;
        if started.elapsed() > Duration::from_secs(60) {
            return Err("it did not become ready".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs the program's own command line.
fn call(program: &Path, file: &Path, words: &[&str], input: &str) -> Result<String, String> {
    let run = || {
        let mut child = Command::new(program)
            .arg("-c")
            .arg(file)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(format!("{input}\n").as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
}

impl Gateway {
    /// The same gateway, for another machine client.
    pub fn another(&self, name: &str) -> Result<Self, String> {
        let (_, credentials) = self.client(name)?;
        Ok(Self { credentials, ..self.clone() })
    }

    /// Makes a machine client with the program's command line; the label of the hostname that it belongs to, and its credentials.
    fn client(&self, name: &str) -> Result<(String, String), String> {
        let words = ["--json", "client", "add", name, "--user", "bench", "--upstream", &self.upstream];
        let made = call(&self.program, &self.configuration, &words, "")?;
        let parsed: Value = serde_json::from_str(&made).map_err(|error| format!("client add: {error}: {made}"))?;
        let part = |name: &str| parsed[name].as_str().unwrap_or_default().to_owned();
        Ok((part("realm"), STANDARD.encode(format!("{}:{}", part("id"), part("secret")))))
    }

    /// So many access tokens, each fresh from the token endpoint (RFC 6749, section 4.4).
    pub fn tokens(&self, count: usize) -> Result<Vec<String>, String> {
        block_on(async {
            let mut tokens = Vec::new();
            match self.front {
                Front::Tls => {
                    let connector = crate::certificate::connector(b"http/1.1")?;
                    let mut connection = Connection::tls(self.address, &connector, DOMAIN).await?;
                    for _ in 0..count {
                        tokens.push(self.token(&mut connection).await?);
                    }
                }
                Front::Plain | Front::H2Upstream => {
                    let mut connection = Connection::plain(self.address).await?;
                    for _ in 0..count {
                        tokens.push(self.token(&mut connection).await?);
                    }
                }
            }
            Ok(tokens)
        })
    }

    pub async fn token<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S>,
    ) -> Result<String, String> {
        let answer = self.post(connection, "/token", "grant_type=client_credentials").await?;
        let parsed: Value = serde_json::from_str(&answer).map_err(|error| format!("/token: {error}: {answer}"))?;
        parsed["access_token"].as_str().map(str::to_owned).ok_or_else(|| format!("/token: {answer}"))
    }

    /// Posts a form as the machine client; the body of the answer, which must be of status 200.
    pub async fn post<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S>,
        path: &str,
        form: &str,
    ) -> Result<String, String> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.host,
            self.credentials,
            form.len()
        );
        let (status, body) = exchange(connection, head.as_bytes()).await?;
        if status == 200 { Ok(body) } else { Err(format!("{path}: {status}: {body}")) }
    }

    fn public(&self) -> Result<Public, String> {
        let head = format!("GET /jwks HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        let text = block_on(async {
            match self.front {
                Front::Tls => {
                    let connector = crate::certificate::connector(b"http/1.1")?;
                    exchange(&mut Connection::tls(self.address, &connector, DOMAIN).await?, head.as_bytes()).await
                }
                Front::Plain | Front::H2Upstream => {
                    exchange(&mut Connection::plain(self.address).await?, head.as_bytes()).await
                }
            }
        })?;
        let jwks = serde_json::from_str(&text.1).map_err(|error| format!("/jwks: {error}: {}", text.1))?;
        Ok(Public { jwks })
    }

    /// A client's registration (RFC 7591).
    pub fn registration(&self) -> Call {
        let body = r#"{"client_name":"bench","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}"#;
        let head = format!(
            "POST /register HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        Call { bytes: head.into_bytes(), status: 201 }
    }
}

/// One request, and its answer's status and body.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    request: &[u8],
) -> Result<(u16, String), String> {
    connection.send(request).await?;
    let (status, mut body): (u16, Body) = connection.head().await?;
    let mut text = Vec::new();
    while !body.take(connection.buffer(), |content| text.extend_from_slice(content)) {
        connection.fill().await?;
    }
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}
