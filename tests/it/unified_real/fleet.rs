//! MCP servers that this project did not write, of every transport, and a gateway with all of them behind one address.

use crate::clients::{Foreign, node, retell};
use crate::gateway::{Gateway, configured, without_rates};
use crate::upstreams::anywhere;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use portcullis::devkit::Running;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

const PATIENCE: Duration = Duration::from_secs(60);
const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
/// What the file says that the file server is asked for.
pub const IN_THE_FILE: &str = "the canary in the file";
/// What the page says that the fetching server is asked for.
pub const ON_THE_PAGE: &str = "the canary on the page";

/// Everything; it ends with this value.
pub struct Fleet {
    pub gateway: Gateway,
    pub notes: Foreign,
    pub page: String,
    files: TempDir,
    _page: Running,
    _servers: Vec<Server>,
}

impl Fleet {
    pub async fn start() -> Self {
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("canary.txt"), IN_THE_FILE).unwrap();
        let supergateway = format!(
            "node_modules/supergateway/dist/index.js|--stdio|node {EVERYTHING} stdio|--outputTransport|ws|--messagePath|/message|\
             --logLevel|none"
        );
        let supergateway: Vec<&str> = supergateway.split('|').collect();
        let (http, sse, socket, notes, page) = tokio::join!(
            Server::start(&[EVERYTHING, "streamableHttp"]),
            Server::start(&[EVERYTHING, "sse"]),
            Server::start(&supergateway),
            Foreign::start(),
            page(),
        );
        let text = configuration(files.path(), [http.port, sse.port, socket.port], &notes.authority());
        let gateway = Gateway::with(move |config| {
            without_rates(config);
            config.upstream = configured(&text).upstream;
            // Python takes its time to start, most of all beside other tests.
            config.unified.list_timeout = PATIENCE;
        });
        let gateway = gateway.await;
        let url = format!("{}/page", page.origin());
        Self { gateway, notes, page: url, files, _page: page, _servers: vec![http, sse, socket] }
    }

    /// The unified endpoint.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.gateway.root())
    }

    pub fn canary_file(&self) -> String {
        self.files.path().join("canary.txt").display().to_string()
    }
}

/// A server from npm that listens.
struct Server {
    port: u16,
    _child: Child,
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        let mut command = node("announce.mjs");
        command.args(arguments).env("PORT", "0").stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::spawn(retell(arguments[0].to_owned(), child.stderr.take().unwrap()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it is slow to start").unwrap();
            let line = line.unwrap_or_else(|| panic!("{arguments:?} ended; its error is above"));
            if let Some(port) = serde_json::from_str::<Value>(&line).ok().and_then(|line| line["port"].as_u64()) {
                break port.try_into().unwrap();
            }
        };
        // Whoever writes to a pipe that nobody reads stops sooner or later.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { port, _child: child }
    }
}

async fn page() -> Running {
    let html = format!("<!doctype html><title>Canary</title><article><h1>Canary</h1><p>{ON_THE_PAGE}</p></article>");
    let router = move |_, _| Router::new().route("/page", get(move || async move { Html(html) }));
    Running::start(anywhere(), router).await.unwrap()
}

/// Three times the same server, so that only the prefixes tell its tools apart; its own processes for everybody but
/// `notes`, which has an authorization server.
fn configuration(files: &Path, [http, sse, socket]: [u16; 3], notes: &str) -> String {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let module = |name: &str| clients.join(format!("node_modules/@modelcontextprotocol/{name}/dist/index.js"));
    let script = |name: &str| clients.join(".venv/bin").join(name);
    let memory = files.join("memory.jsonl");
    let mut text = String::new();
    for (alias, port, path, transport) in
        [("http", http, "/mcp", "auto"), ("sse", sse, "/sse", "auto"), ("socket", socket, "/message", "websocket")]
    {
        text += &format!(
            "[[upstream]]\ndomain = \"127.0.0.1:{port}\"\nalias = \"{alias}\"\npath = \"{path}\"\ntransport = \"{transport}\"\nauth = \"none\"\n"
        );
    }
    text += &format!("[[upstream]]\ndomain = \"{notes}\"\nalias = \"notes\"\npath = \"/mcp\"\n");
    let node = |path: PathBuf, rest: &[&str]| {
        let mut list = vec!["node".to_owned(), path.display().to_string()];
        list.extend(rest.iter().map(|argument| (*argument).to_owned()));
        list
    };
    // Where it finds Node, the library that reads pages for mcp-server-fetch would install packages at its first use.
    let python = |name: &str, rest: &[&str]| {
        let mut list = vec!["env".to_owned(), "PATH=".to_owned(), script(name).display().to_string()];
        list.extend(rest.iter().map(|argument| (*argument).to_owned()));
        list
    };
    for (alias, command, more) in [
        ("stdio", node(module("server-everything"), &["stdio"]), String::new()),
        ("files", node(module("server-filesystem"), &[&files.display().to_string()]), String::new()),
        ("memory", node(module("server-memory"), &[]), format!("env = {{ MEMORY_FILE_PATH = {memory:?} }}\n")),
        ("time", python("mcp-server-time", &["--local-timezone", "UTC"]), "processes = \"shared\"\n".to_owned()),
        ("fetch", python("mcp-server-fetch", &["--ignore-robots-txt", "--allow-private-ips"]), String::new()),
    ] {
        text += &format!("[[upstream]]\ncommand = {command:?}\nalias = \"{alias}\"\n{more}");
    }
    text
}
