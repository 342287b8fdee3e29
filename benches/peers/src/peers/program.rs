//! How each program is configured and called, and which version it says it is.

use super::token::Keys;
use super::{AGENTGATEWAY, CADDY, Front, Ground, HAPROXY, Kind, NGINX, PINGORA, PORTCULLIS};
use crate::options::Options;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Name and version of every program, missing ones included.
pub fn versions(options: &Options) -> Vec<(String, String)> {
    let line = |command: Result<OsString, String>, argument: &str| {
        let output =
            command.and_then(|program| Command::new(program).arg(argument).output().map_err(|error| error.to_string()));
        let text = output.map(|output| [output.stdout, output.stderr].concat());
        match text {
            Ok(text) => String::from_utf8_lossy(&text).lines().next().unwrap_or("says nothing").to_owned(),
            Err(error) => format!("missing: {error}"),
        }
    };
    let pingora = match given(options.pingora.as_deref(), "PINGORA") {
        Ok(_) => "0.9.1, header swap".to_owned(),
        Err(error) => format!("missing: {error}"),
    };
    vec![
        (PORTCULLIS.to_owned(), line(Ok(options.portcullis.clone().into()), "--version")),
        (PINGORA.to_owned(), pingora),
        (NGINX.to_owned(), line(installed("nginx"), "-v")),
        (HAPROXY.to_owned(), line(installed("haproxy"), "-v")),
        (CADDY.to_owned(), line(installed("caddy"), "version")),
        (AGENTGATEWAY.to_owned(), line(given(options.agentgateway.as_deref(), "AGENTGATEWAY"), "--version")),
    ]
}

/// Writes a configuration for a program that will listen at `address`.
pub(super) fn write_configuration(
    ground: &Ground,
    file: &Path,
    address: SocketAddr,
    directory: &Path,
    keys: &Keys,
) -> Result<(), String> {
    let text = fill(ground, template(file)?, address, directory);
    let text = text
        .replace("{{secret}}", &keys.secret)
        .replace("{{public_key}}", &keys.public_key.display().to_string())
        .replace("{{jwks}}", &keys.jwks.display().to_string())
        .replace("{{issuer}}", &keys.issuer);
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// What every configuration may name.
pub(super) fn fill(ground: &Ground, template: &str, address: SocketAddr, directory: &Path) -> String {
    template
        .replace("{{address}}", &address.to_string())
        .replace("{{port}}", &address.port().to_string())
        .replace("{{upstream}}", &ground.mock.plain.to_string())
        .replace("{{tls_upstream}}", &ground.mock.tls.to_string())
        .replace("{{tls_upstream_port}}", &ground.mock.tls.port().to_string())
        .replace("{{certificate}}", &ground.files.chain.display().to_string())
        .replace("{{key}}", &ground.files.key.display().to_string())
        .replace("{{both}}", &ground.files.both.display().to_string())
        .replace("{{directory}}", &directory.display().to_string())
}

/// The configurations are in the program, so that it runs anywhere.
pub(super) fn template(file: &Path) -> Result<&'static str, String> {
    macro_rules! templates {
        ($($name:literal),*) => { [$(($name, include_str!(concat!("../../configurations/", $name)))),*] };
    }
    let templates = templates![
        "nginx.conf",
        "nginx-tls.conf",
        "haproxy.cfg",
        "haproxy-hs256.cfg",
        "haproxy-es256.cfg",
        "haproxy-tls.cfg",
        "haproxy-h2-upstream.cfg",
        "Caddyfile",
        "Caddyfile-tls",
        "Caddyfile-h2-upstream",
        "agentgateway.yaml",
        "agentgateway-es256.yaml",
        "portcullis.toml",
        "portcullis-tls.toml",
        "portcullis-h2-upstream.toml"
    ];
    let name = file.file_name().unwrap_or_default();
    let found = templates.into_iter().find(|(known, _)| name == *known).map(|(_, text)| text);
    found.ok_or_else(|| format!("there is no configuration {}", name.display()))
}

/// The command line that starts it.
pub(super) fn command(
    ground: &Ground,
    kind: Kind,
    front: Front,
    address: SocketAddr,
    file: &Path,
) -> Result<Vec<OsString>, String> {
    let text = |text: &str| OsString::from(text);
    let upstream = if front == Front::H2Upstream { ground.mock.tls } else { ground.mock.plain }.to_string();
    Ok(match kind {
        Kind::Direct | Kind::Portcullis => return Err("it is not started here".to_owned()),
        Kind::Floor => vec![myself()?, text("floor"), text(&address.to_string()), text(&upstream)],
        Kind::Pingora => {
            let program = given(ground.options.pingora.as_deref(), "PINGORA")?;
            let mut words = vec![program, text(&address.to_string()), text(&upstream)];
            match front {
                Front::Plain => {}
                Front::Tls => {
                    words.extend([ground.files.chain.as_os_str().to_owned(), ground.files.key.as_os_str().to_owned()])
                }
                Front::H2Upstream => words.push(text("h2")),
            }
            words
        }
        Kind::Nginx => {
            vec![installed("nginx")?, text("-p"), file.with_file_name("").into(), text("-c"), file.as_os_str().into()]
        }
        Kind::Haproxy => vec![installed("haproxy")?, text("-db"), text("-q"), text("-f"), file.as_os_str().into()],
        // It keeps a copy of its configuration, by default in its user's home.
        Kind::Caddy => vec![
            text("env"),
            OsString::from(format!("XDG_CONFIG_HOME={}", file.with_file_name("").display())),
            installed("caddy")?,
            text("run"),
            text("--adapter"),
            text("caddyfile"),
            text("--config"),
            file.as_os_str().into(),
        ],
        Kind::Agentgateway => {
            let program = given(ground.options.agentgateway.as_deref(), "AGENTGATEWAY")?;
            vec![program, text("-f"), file.as_os_str().into()]
        }
    })
}

fn given(path: Option<&Path>, variable: &str) -> Result<OsString, String> {
    let path = path.ok_or_else(|| format!("no {variable}=path was given"))?;
    path.canonicalize().map(Into::into).map_err(|error| format!("{}: {error}", path.display()))
}

/// Debian has servers outside of what everybody's path has.
#[allow(clippy::disallowed_methods)] // the gateway's rule; here is no configuration that could have it
fn installed(program: &str) -> Result<OsString, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    let found = places.map(|place| Path::new(place).join(program)).find(|path| path.is_file());
    found.map(Into::into).ok_or_else(|| format!("{program} is not installed (make deps-peers)"))
}

fn myself() -> Result<OsString, String> {
    std::env::current_exe().map(Into::into).map_err(|error| error.to_string())
}
