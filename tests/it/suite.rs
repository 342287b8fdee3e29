//! The official MCP conformance suite as a program that runs beside a test.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The running suite; killed when this is dropped.
pub struct Suite {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    directory: TempDir,
}

/// What one scenario of the suite found out.
#[derive(Debug)]
pub struct Scenario {
    pub name: String,
    /// Objects with `id`, `name`, `status` and more.
    pub checks: Vec<Value>,
}

impl Suite {
    /// Runs a subcommand of the suite.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let complaints = std::fs::File::create(directory.path().join("stderr")).unwrap();
        let mut child = node()
            .arg("node_modules/@modelcontextprotocol/conformance/dist/index.js")
            .args(arguments)
            .arg("--output-dir")
            .arg(directory.path().join("results"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: Vec::new(), directory }
    }

    /// The next line of its standard output.
    pub async fn line(&mut self) -> Option<String> {
        let line = self.lines.next_line().await.unwrap();
        self.seen.extend(line.clone());
        line
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        while self.line().await.is_some() {}
        self.child.wait().await.unwrap()
    }

    /// The scenarios that it ran, by name.
    pub fn results(&self) -> Vec<Scenario> {
        let results = self.directory.path().join("results");
        let mut scenarios = Vec::new();
        for file in checks_below(&results) {
            // `<kind>-<scenario>-<time>`, where a slash in the name of a scenario is one here, too.
            let directory = file.parent().unwrap().strip_prefix(&results).unwrap().display().to_string();
            let checks = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            scenarios.push(Scenario { name: without_time(&directory).to_owned(), checks });
        }
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        scenarios
    }

    /// All that it has printed.
    pub fn told(&self) -> String {
        let complaints = std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        format!("{}\n{complaints}", self.seen.join("\n"))
    }
}

/// Node in the suite's directory, which is newer than what distributions have; names below `localhost` resolve in it, and
/// it ends with the test.
pub fn node() -> Command {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let node = home.join("node_modules/node/bin/node");
    assert!(node.exists(), "{} is missing: run `make deps`", node.display());
    let mut command = Command::new(node);
    command.args(["--import", "./localhost.mjs"]).current_dir(home).kill_on_drop(true);
    command
}

fn checks_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { checks_below(&path) } else { vec![path] })
        .filter(|path| path.ends_with("checks.json"))
        .collect()
}

/// `server-ping-2026-11-21T06-58-00-000Z` is `server-ping`.
fn without_time(directory: &str) -> &str {
    const TIME: usize = "-2026-11-21T06-58-00-000Z".len();
    directory.get(..directory.len().saturating_sub(TIME)).unwrap_or(directory)
}
