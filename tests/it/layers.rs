//! Holds the modules to the layers that ARCHITECTURE.md and `src/lib.rs` describe: a module uses words of its own layer
//! and of those below, never above, and no door uses another door.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "words",
        &[
            "checkpoints",
            "clock",
            "error",
            "hostname",
            "ids",
            "jose",
            "json",
            "life",
            "mcp",
            "oauth",
            "paths",
            "request",
            "secret",
            "table",
        ],
    ),
    ("ground", &["config", "http", "store", "telemetry", "tls", "vault"]),
    (
        "services",
        &[
            "activity",
            "administration",
            "apikey",
            "audit",
            "backup",
            "certificates",
            "connect",
            "csrf",
            "doctor",
            "identity",
            "jwks",
            "factors",
            "freshness",
            "machine",
            "mcp_client",
            "moving",
            "overload",
            "page",
            "providers",
            "ratelimit",
            "revocation",
            "services",
            "session",
            "stdio",
            "tokens",
            "upstream",
        ],
    ),
    ("doors", &["api", "broker", "dashboard", "forward_auth", "issuer", "proxy", "unified"]),
    ("assembly", &["admin", "app", "bridge", "cli", "devkit", "fuzzing", "server"]),
];

/// Crates that only some modules may name.
const GUARDED: [(&str, &[&str]); 6] = [
    ("pingora", &["proxy", "server"]),
    ("sqlx", &["store"]),
    ("reqwest", &["http", "devkit"]),
    ("rustls", &["http", "tls"]),
    ("utoipa", &["administration", "api"]),
    ("cryptoki", &["vault"]),
];

#[test]
fn modules_keep_to_their_layers() {
    let mut offences = Vec::new();
    for (module, file) in source_files() {
        let level = level_of(&module).unwrap_or_else(|| panic!("{module} is in no layer: add it to LAYERS"));
        for (line, used) in uses_of_crate(&file) {
            let Some(other) = level_of(&used) else { continue };
            let door_to_door = level == 3 && other == 3 && used != module;
            if other > level || door_to_door {
                offences.push(format!("{}:{line}: {module} uses {used}", file.display()));
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn guarded_crates_are_named_only_where_they_belong() {
    let mut offences = Vec::new();
    for (module, file) in source_files() {
        for (number, line) in code_lines(&fs::read_to_string(&file).unwrap()) {
            for (name, modules) in GUARDED {
                let named = line.contains(&format!("{name}::")) && !line.contains(&format!("_{name}::"));
                if named && !modules.contains(&module.as_str()) {
                    offences.push(format!("{}:{number}: {module} names {name}", file.display()));
                }
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Cross-site request forgery: the pages of people who are signed in get their forms from `sent.rs`, which knows whether a form is
/// ours. Nobody is signed in yet where the others are sent from.
#[test]
fn pages_read_the_forms_of_signed_in_people_in_one_place() {
    const READERS: [&str; 5] = ["passkey.rs", "providers.rs", "second.rs", "sent.rs", "signin.rs"];
    let mut readers = Vec::new();
    for (_, file) in source_files().into_iter().filter(|(module, _)| module == "dashboard") {
        let text = fs::read_to_string(&file).unwrap();
        if code_lines(&text).iter().any(|(_, line)| line.contains("Form(") || line.contains("RawForm")) {
            readers.push(file.strip_prefix(source().join("dashboard")).unwrap().to_str().unwrap().to_owned());
        }
    }
    readers.sort_unstable();
    assert_eq!(readers, READERS);
}

#[test]
fn every_module_of_the_library_has_a_layer() {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")));
    for module in declared.filter_map(|rest| rest.strip_suffix(';')) {
        assert!(level_of(module).is_some(), "{module} is in no layer");
    }
}

fn level_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file with the top-level module that it belongs to.
fn source_files() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(&path, &module, &mut files);
        } else if module != "lib" && module != "main" {
            files.push((module, path));
        }
    }
    files
}

fn collect(directory: &Path, module: &str, files: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap();
        if stem == "tests" || stem == "conformance" || stem == "fuzzing" {
            continue; // tests may use whatever they need
        }
        if path.is_dir() {
            collect(&path, module, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((module.to_owned(), path));
        }
    }
}

/// The modules of this crate that a file names, with the line.
fn uses_of_crate(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let mut uses = Vec::new();
    for (number, line) in code_lines(&text) {
        for part in line.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            uses.push((number, name));
        }
    }
    uses
}

/// Lines that are neither comments nor tests: tests may use whatever they need.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]" && !line.starts_with("#![cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}
