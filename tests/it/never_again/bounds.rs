//! What cannot happen because it is not there: programs that strangers start, controls that strangers reach, parsers that take
//! for ever, crates that are known to be broken.

use super::ask;
use crate::forward_proxies::free_port;
use crate::gateway::Gateway;
use portcullis::config::{Source, load};
use portcullis::hostname::{Authority, Label};
use portcullis::mcp::sse::EventStream;
use portcullis::oauth::challenge::BearerChallenge;
use portcullis::oauth::redirect::RedirectUri;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(project().join(path)).unwrap()
}

/// Where processes are started: programs of the configuration, and this one again.
const STARTERS: [&str; 5] = [
    "src/certificates/dns/hook.rs",
    "src/server/handover.rs",
    "src/stdio/confine.rs",
    "src/stdio/keeper.rs",
    "src/stdio/launch.rs",
];

/// An address that a stranger names is fetched, shown or put into a header, but it is never a command: nothing opens a browser,
/// and no shell reads anything.
#[test]
fn a32_only_these_files_start_processes_and_no_shell_is_among_them() {
    let mut starters = BTreeSet::new();
    for file in sources(&project().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let name = file.strip_prefix(project()).unwrap().display().to_string();
        if code.contains("process::Command") || code.contains("CommandExt") || code.contains("Command::new(") {
            starters.insert(name.clone());
        }
        for shell in ["\"sh\"", "\"/bin/sh\"", "\"bash\"", "\"-c\"", "xdg-open", "webbrowser", "cmd.exe"] {
            assert!(!code.contains(shell), "{name} has {shell}");
        }
    }
    assert_eq!(starters, STARTERS.map(str::to_owned).into());
}

/// Sources that are neither tests nor what only tests use.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if ["tests", "conformance", "devkit"].contains(&stem) || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The port beside the gateway's own: on loopback unless somebody says otherwise, and nothing can be done there.
#[tokio::test]
async fn a33_the_port_for_metrics_is_on_loopback_and_controls_nothing() {
    let state = tempfile::tempdir().unwrap();
    let environment = BTreeMap::from([("XDG_STATE_HOME".to_owned(), state.path().display().to_string())]);
    let defaults = load(&Source { file: None, environment }).unwrap().server;
    assert!(defaults.admin_listen.is_some_and(|address| address.ip().is_loopback()));
    assert!(defaults.listen.iter().all(|address| address.ip().is_loopback()), "one's own machine is one's own");

    let port = free_port();
    let gateway =
        Gateway::with(move |config| config.server.admin_listen = Some(SocketAddr::from(([127, 0, 0, 1], port)))).await;
    let host = format!("Host: 127.0.0.1:{port}");
    for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200)] {
        assert_eq!(ask(port, &[&format!("GET {path} HTTP/1.1"), &host]).await.0, expected, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let lines = [format!("{method} {path} HTTP/1.1"), host.clone(), "Content-Length: 0".to_owned()];
            assert_eq!(ask(port, &lines.each_ref().map(String::as_str)).await.0, 405, "{method} {path}");
        }
    }
    for path in
        ["/", "/api/v1/users", "/mcp", "/api/mcp/connect", "/config", "/debug/pprof", "/shutdown", "/proxy", "/sse"]
    {
        for method in ["GET", "POST"] {
            let lines =
                [format!("{method} {path}?command=touch HTTP/1.1"), host.clone(), "Content-Length: 0".to_owned()];
            assert_eq!(ask(port, &lines.each_ref().map(String::as_str)).await.0, 404, "{method} {path}");
        }
    }
    let root = format!("Host: localhost:{}", gateway.port());
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(ask(gateway.port(), &[&format!("GET {path} HTTP/1.1"), &root]).await.0, 404, "{path} in public");
    }
}

/// Expressions that can take for ever are nowhere: no crate of what is shipped evaluates them by trying again.
#[test]
fn a38_no_regular_expression_is_evaluated_by_trying_again() {
    let reached = shipped();
    assert!(reached.len() > 200 && reached.contains("tokio") && !reached.contains("proptest"), "{}", reached.len());
    for name in ["fancy-regex", "pcre", "pcre2", "onig", "onig_sys", "regress", "oniguruma", "hyperscan", "regex-lite"]
    {
        assert!(!reached.contains(name), "{name} is a dependency");
    }
    for file in sources(&project().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("regex::") && !text.contains("Regex"), "{} has a regular expression", file.display());
    }
}

/// The crates that the product is made of, tests' own left out.
fn shipped() -> BTreeSet<String> {
    let lock: toml_edit::DocumentMut = read("Cargo.lock").parse().unwrap();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array_of_tables().unwrap() {
        let all = package.get("dependencies").and_then(|item| item.as_array());
        let names = all.into_iter().flatten().filter_map(|name| name.as_str());
        let names = names.filter_map(|name| name.split(' ').next()).map(str::to_owned);
        needs.entry(package["name"].as_str().unwrap().to_owned()).or_default().extend(names);
    }
    let manifest: toml_edit::DocumentMut = read("Cargo.toml").parse().unwrap();
    let mut waiting: Vec<String> =
        manifest["dependencies"].as_table_like().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone()) {
            waiting.extend(needs.get(&name).into_iter().flatten().cloned());
        }
    }
    reached
}

/// A quarter of a megabyte of what is made to be slow. With as many steps as that has bytes it takes moments; with their square nobody would
/// wait for the end of this test.
#[test]
fn a38_what_strangers_write_is_read_in_linear_time() {
    const SIZE: usize = 1 << 18;
    for piece in ["a", "\"", "\\", "\\\"", "=", ",", ", ", " ", "a=", "a=\"", "Bearer ", "Bearer a=b,", "é", "\t,"] {
        let text = piece.repeat(SIZE / piece.len());
        for text in [&text, &format!("Bearer {text}"), &format!("Bearer a=\"{text}")] {
            let _ = BearerChallenge::parse(text);
        }
    }
    for piece in ["/", ":", "@", "[", "%", "%2e/", "..//", "a.", "xn--", "\\", "?", "&a=", "*", "-"] {
        let text = piece.repeat(SIZE / piece.len());
        for text in [
            &text,
            &format!("https://{text}"),
            &format!("https://a.example/{text}"),
            &format!("http://127.0.0.1{text}"),
        ] {
            let _ = RedirectUri::parse(text);
            let _ = Authority::parse(text);
            let _ = Authority::from_input(text);
            let _ = Label::parse(text);
        }
    }
    for piece in
        ["\n", "\r", "\r\n", ":", "data:\n", "data: a\n", "event:", "id: 1\n", "data:\r", ": comment\n", "retry: 1\n\n"]
    {
        let text = piece.repeat(SIZE / piece.len());
        let mut reader = EventStream::new(2 * SIZE);
        let mut bytes = text.as_bytes();
        while let Ok(Some(_)) = reader.next(&mut bytes) {}
        // Byte by byte, as a network may have it.
        let mut reader = EventStream::new(2 * SIZE);
        for mut byte in text.as_bytes().chunks(1) {
            while let Ok(Some(_)) = reader.next(&mut byte) {}
        }
    }
}

/// Advisories are looked at before anything is merged, and the two that the list names stay away by name.
#[test]
fn a49_crates_with_known_holes_do_not_get_in() {
    let gate = read(".deny.toml");
    for banned in ["idna:<1.0.0", "sqlx:<0.8.1"] {
        assert!(gate.contains(&format!("crate = \"{banned}\"")), "{banned} is not banned");
    }
    let (make, workflow) = (read("Makefile"), read(".github/workflows/ci.yml"));
    assert!(make.contains("cargo deny --config .deny.toml check"), "`make lint` does not ask cargo-deny");
    assert!(workflow.contains("advisories") && workflow.contains("--config .deny.toml"), "nobody looks at advisories");
    let lock: toml_edit::DocumentMut = read("Cargo.lock").parse().unwrap();
    let version = |wanted: &str| {
        let packages = lock["package"].as_array_of_tables().unwrap().iter();
        let all: Vec<_> = packages.filter(|package| package["name"].as_str() == Some(wanted)).collect();
        assert_eq!(all.len(), 1, "{wanted}");
        let parts = all[0]["version"].as_str().unwrap().split('.').map(|part| part.parse::<u32>().unwrap());
        parts.collect::<Vec<_>>()
    };
    assert!(version("idna") >= vec![1, 0, 0] && version("sqlx") >= vec![0, 8, 1]);
}
