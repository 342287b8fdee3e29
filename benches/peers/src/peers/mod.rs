//! Who is measured: every proxy with its configuration (`configurations/`), started on one core.

mod gateway;
mod program;
mod token;

pub use gateway::{Gateway, start_time};
pub use program::versions;

use crate::certificate::Files;
use crate::load::http1::Call;
use crate::mock::Mock;
use crate::options::Options;
use crate::process::{Program, free_address};
use program::{command, write_configuration};
use rustix::process::Pid;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use token::Keys;

pub const DIRECT: &str = "direct";
pub const FLOOR: &str = "floor";
pub const PINGORA: &str = "Pingora";
pub const NGINX: &str = "nginx";
pub const HAPROXY: &str = "HAProxy";
pub const HAPROXY_HS256: &str = "HAProxy HS256";
pub const HAPROXY_ES256: &str = "HAProxy ES256";
pub const CADDY: &str = "Caddy";
pub const AGENTGATEWAY: &str = "agentgateway";
pub const AGENTGATEWAY_ES256: &str = "agentgateway ES256";
pub const PORTCULLIS: &str = "Portcullis";

/// What stands on either side of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// HTTP/1.1 in the clear on both sides.
    Plain,
    /// TLS toward callers, HTTP/1.1 or HTTP/2 as they like.
    Tls,
    /// TLS and HTTP/2 toward the upstream.
    H2Upstream,
}

/// Which program a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Direct,
    Floor,
    Pingora,
    Nginx,
    Haproxy,
    Caddy,
    Agentgateway,
    Portcullis,
}

/// A peer and its configuration for each front; where there is none, it cannot do that.
struct Peer {
    name: &'static str,
    kind: Kind,
    /// Whether the caller's bearer must not arrive at the upstream.
    swaps: bool,
    configurations: [Option<&'static str>; 3],
}

const PEERS: [Peer; 11] = [
    peer(DIRECT, Kind::Direct, false, [Some(""), None, None]),
    peer(FLOOR, Kind::Floor, false, [Some(""), None, None]),
    peer(PINGORA, Kind::Pingora, true, [Some(""), Some(""), Some("")]),
    peer(NGINX, Kind::Nginx, false, [Some("nginx.conf"), Some("nginx-tls.conf"), None]),
    peer(
        HAPROXY,
        Kind::Haproxy,
        false,
        [Some("haproxy.cfg"), Some("haproxy-tls.cfg"), Some("haproxy-h2-upstream.cfg")],
    ),
    peer(HAPROXY_HS256, Kind::Haproxy, true, [Some("haproxy-hs256.cfg"), None, None]),
    peer(HAPROXY_ES256, Kind::Haproxy, true, [Some("haproxy-es256.cfg"), None, None]),
    peer(CADDY, Kind::Caddy, true, [Some("Caddyfile"), Some("Caddyfile-tls"), Some("Caddyfile-h2-upstream")]),
    peer(AGENTGATEWAY, Kind::Agentgateway, true, [Some("agentgateway.yaml"), None, None]),
    peer(AGENTGATEWAY_ES256, Kind::Agentgateway, true, [Some("agentgateway-es256.yaml"), None, None]),
    peer(
        PORTCULLIS,
        Kind::Portcullis,
        true,
        [Some("portcullis.toml"), Some("portcullis-tls.toml"), Some("portcullis-h2-upstream.toml")],
    ),
];

const fn peer(name: &'static str, kind: Kind, swaps: bool, configurations: [Option<&'static str>; 3]) -> Peer {
    Peer { name, kind, swaps, configurations }
}

/// A proxy that runs.
pub struct Target {
    pub name: &'static str,
    /// None: there is no proxy in between.
    pub program: Option<Program>,
    pub address: SocketAddr,
    /// `Host`, or `:authority`, of requests to it.
    pub host: String,
    pub token: String,
    pub swaps: bool,
    /// What else the gateway under test can do.
    pub gateway: Option<Gateway>,
}

impl Target {
    pub fn pid(&self) -> Option<Pid> {
        self.program.as_ref().map(Program::pid)
    }

    /// The name that a TLS handshake asks for.
    pub fn server_name(&self) -> String {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        if self.gateway.is_some() { name.to_owned() } else { "localhost".to_owned() }
    }

    /// The request that becomes a WebSocket.
    pub fn upgrade(&self, path: &str) -> Call {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.host, self.token
        );
        Call { bytes: head.into_bytes(), status: 101 }
    }

    /// A request as it goes to this target. `body` none: GET.
    pub fn call(&self, path: &str, token: Option<&str>, body: Option<&str>) -> Call {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str("Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2025-11-25\r\n");
        if let Some(body) = body {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        Call { bytes: [head.as_bytes(), body.unwrap_or("").as_bytes()].concat(), status: 200 }
    }
}

/// Everything that a peer's start needs.
pub struct Ground<'a> {
    pub options: &'a Options,
    pub mock: &'a Mock,
    pub files: &'a Files,
    /// Below it, every program has a directory of its own.
    pub directory: &'a Path,
    pub cores: &'a [usize],
}

/// Who was started, and who could not be.
#[derive(Default)]
pub struct Fleet {
    pub targets: Vec<Target>,
    pub missing: Vec<(String, String)>,
}

impl Fleet {
    /// Starts the peers of these names. The gateway comes first, because others check its tokens.
    ///
    /// # Errors
    ///
    /// When the gateway itself does not start; any other peer is then `missing`.
    pub fn start(ground: &Ground, front: Front, names: &[&str]) -> Result<Self, String> {
        let (gateway, public) = start_gateway(ground, front)?;
        let keys = Keys::new(ground.directory, &gateway.token, &public)?;
        let mut fleet = Self::default();
        for peer in PEERS.iter().filter(|peer| names.contains(&peer.name) && peer.kind != Kind::Portcullis) {
            let Some(configuration) = peer.configurations[front as usize] else { continue };
            match start(ground, peer, configuration, front, &keys) {
                Ok(target) => fleet.targets.push(target),
                Err(error) => fleet.missing.push((peer.name.to_owned(), error)),
            }
        }
        if names.contains(&PORTCULLIS) {
            fleet.targets.push(gateway);
        }
        Ok(fleet)
    }
}

fn start_gateway(ground: &Ground, front: Front) -> Result<(Target, token::Public), String> {
    let configuration = PEERS.iter().find_map(|peer| match peer.kind {
        Kind::Portcullis => peer.configurations[front as usize],
        _ => None,
    });
    let name = configuration.ok_or("the gateway has no configuration for this")?;
    gateway::start(ground, front, name).map_err(|error| format!("{}: {error}", ground.options.portcullis.display()))
}

fn start(ground: &Ground, peer: &Peer, configuration: &str, front: Front, keys: &Keys) -> Result<Target, String> {
    if peer.kind == Kind::Direct {
        let address = ground.mock.plain;
        return Ok(target(peer, None, address, keys.es256.clone()));
    }
    let address = free_address()?;
    let directory = home(ground, peer.name, front)?;
    let file = directory.join(configuration);
    if !configuration.is_empty() {
        write_configuration(ground, &file, address, &directory, keys)?;
    }
    let command = command(ground, peer.kind, front, address, &file)?;
    let words: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
    let mut program = Program::start(&directory, "output", ground.cores, &words)?;
    program.answers(address)?;
    let token = if peer.name == HAPROXY_HS256 { &keys.hs256 } else { &keys.es256 };
    Ok(target(peer, Some(program), address, token.clone()))
}

fn target(peer: &Peer, program: Option<Program>, address: SocketAddr, token: String) -> Target {
    Target { name: peer.name, program, address, host: address.to_string(), token, swaps: peer.swaps, gateway: None }
}

/// A directory of its own for a program that is about to start.
fn home(ground: &Ground, name: &str, front: Front) -> Result<PathBuf, String> {
    let directory = ground.directory.join(format!("{name}-{front:?}").to_lowercase().replace(' ', "-"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("temporary")).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory)
}
