//! The environment variables of the Cloudflare-Worker gateway, for people who move over. Whatever the configuration says
//! itself wins over them. `SESSION_SECRET` needs no code: our sessions are random, nothing is signed with it.

use super::document::{Entries, Node, Place, Value};
use super::ground::set_default;
use super::reader::{Errors, Reader};
use super::secrets::Directories;
use crate::secret::Secret;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What has no place in the tree.
pub(super) struct Worker<'e> {
    /// `LOCAL_USER` and `LOCAL_PASSWORD`.
    pub(super) local: Option<(String, Secret)>,
    /// `MCP_SERVERS`, with our names for the keys.
    pub(super) servers: Vec<Reader<'e>>,
}

const SERVERS: &str = "MCP_SERVERS";

/// Their names of the keys of a server, and ours.
const KEYS: [(&str, &str); 7] = [
    ("domain", "domain"),
    ("name", "name"),
    ("authzEndpoint", "authorization_endpoint"),
    ("tokenEndpoint", "token_endpoint"),
    ("clientId", "client_id"),
    ("clientSecret", "client_secret"),
    ("scopes", "scopes"),
];

/// Fills in what the configuration leaves open.
pub(super) fn merge<'e>(
    entries: &mut Entries,
    environment: &BTreeMap<String, String>,
    directories: &Directories,
    errors: &'e Errors,
) -> Worker<'e> {
    let variable = |name: &str| environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let node = |name: &str, text: String| Node { value: Value::Untyped(text), place: Place::Variable(name.to_owned()) };
    if let Some(domain) = variable("DOMAIN_ROOT") {
        set_default(entries, ("server", "domain"), node("DOMAIN_ROOT", domain.to_owned()));
    }
    if let Some(level) = variable("LOG_LEVEL") {
        set_default(entries, ("telemetry", "level"), node("LOG_LEVEL", level.to_ascii_lowercase()));
    }
    if let Some(key) = variable("TOKEN_ENCRYPTION_KEY") {
        let file = matches!(entries.get("vault"), Some(Node { value: Value::Table(vault), .. }) if vault.contains_key("key_file"));
        if !file && directories.credential("vault.key").is_none() {
            set_default(entries, ("vault", "key"), node("TOKEN_ENCRYPTION_KEY", key.to_owned()));
        }
    }
    let local = match (variable("LOCAL_USER"), variable("LOCAL_PASSWORD")) {
        (Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password.to_owned()))),
        (None, None) => None,
        (user, _) => {
            let (there, missing) =
                if user.is_some() { ("LOCAL_USER", "LOCAL_PASSWORD") } else { ("LOCAL_PASSWORD", "LOCAL_USER") };
            errors.add(
                &Place::Variable(there.to_owned()),
                "",
                format!("needs {missing} beside it: set both or neither"),
            );
            None
        }
    };
    let servers = variable(SERVERS).map(|text| servers(text, errors)).unwrap_or_default();
    Worker { local, servers: Reader::all_of(SERVERS, servers, errors) }
}

fn servers(text: &str, errors: &Errors) -> Vec<Node> {
    let place = Place::Variable(SERVERS.to_owned());
    match serde_json::from_str(text) {
        Ok(Json::Array(list)) => {
            list.into_iter().enumerate().map(|(index, server)| from_json(server, index, errors)).collect()
        }
        Ok(_) => {
            errors.add(&place, "", "must be a JSON list of objects, like [{\"domain\":\"mcp.example.com\"}]");
            Vec::new()
        }
        // Only the position: the error's own text may quote a secret.
        Err(error) => {
            errors.add(&place, "", format!("is not JSON (line {}, column {})", error.line(), error.column()));
            Vec::new()
        }
    }
}

fn from_json(server: Json, index: usize, errors: &Errors) -> Node {
    let place = Place::Variable(SERVERS.to_owned());
    let Json::Object(object) = server else { return Node { value: Value::Other, place } };
    let mut entries = Entries::new();
    for (theirs, value) in object {
        let Some((_, ours)) = KEYS.iter().find(|(name, _)| *name == theirs) else {
            let known: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
            let why = format!("unknown key; the known ones are {}", known.join(", "));
            errors.add(&place, &format!("{SERVERS}[{index}].{theirs}"), why);
            continue;
        };
        let value = match value {
            Json::Null => continue,
            Json::String(text) if text.is_empty() => continue,
            Json::String(text) => Value::Text(text),
            Json::Array(list) => Value::List(list.into_iter().map(|item| leaf(item, &place)).collect()),
            _ => Value::Other,
        };
        entries.insert((*ours).to_owned(), Node { value, place: place.clone() });
    }
    Node { value: Value::Table(entries), place }
}

fn leaf(item: Json, place: &Place) -> Node {
    let value = match item {
        Json::String(text) => Value::Text(text),
        _ => Value::Other,
    };
    Node { value, place: place.clone() }
}
