//! Programs that the gateway starts: those of its configuration, and nobody else has a say.

use crate::gateway::{Gateway, USER, configured};
use crate::raw::Caller;
use crate::unified::client::Guest;
use crate::visitors::setup;
use portcullis::apikey::{ApiScope, NewApiKey};
use serde_json::json;
use std::time::Duration;

/// Programs come from the configuration: neither a caller nor an administrator at the API or on a page names one.
#[tokio::test]
async fn a14_nothing_but_the_configuration_names_a_program() {
    let marker = tempfile::tempdir().unwrap();
    let touched = marker.path().join("touched");
    let command = json!(["touch", touched.display().to_string()]);
    let (_notes, gateway) = setup().await;
    let key = NewApiKey { name: "test".to_owned(), scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let key = gateway.app().api_keys.create(&key).await.unwrap().key;
    let root = format!("localhost:{}", gateway.port());
    let said = json!({
        "decision": "approved", "alias": "evil", "command": command, "args": command, "env": { "A": "b" },
        "transport": "stdio", "kind": "stdio", "program": command,
    })
    .to_string();
    for target in ["/api/v1/upstreams/evil.example", "/api/v1/upstreams/evil.example/tools", "/api/v1/clients"] {
        let mut caller = Caller::connect(gateway.port()).await;
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: {root}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{said}",
            key.expose(),
            said.len()
        );
        caller.send(head).await.status().await;
    }
    let upstreams = gateway.app().registry.all();
    assert!(upstreams.iter().all(|upstream| !upstream.authority.is_program()), "a program was added");
    // No operation of the API takes one, and no table keeps one.
    let document = serde_json::to_value(portcullis::api::document()).unwrap();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut taken = 0;
    for operation in operations {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) else { continue };
        for property in document["components"]["schemas"][name]["properties"].as_object().unwrap().keys() {
            taken += 1;
            assert!(!["command", "args", "env", "cwd", "program"].contains(&property.as_str()), "{name}.{property}");
        }
    }
    assert!(taken > 10, "bodies are described in another way");
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap() {
        let path = file.unwrap().path();
        let is_column = |line: &str| line.split_whitespace().next().is_some_and(|word| word.starts_with("command"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.lines().any(is_column), "{} keeps commands", path.display());
    }
    // Neither does a client by what it says: there are no such servers for it, and nothing is started.
    let guest = Guest::of(&gateway, USER).await;
    let params =
        json!({ "name": "evil_run", "arguments": {}, "command": command, "transport": { "command": command } });
    guest.modern(&[("mcp-name", "evil_run")], "tools/call", params).await;
    assert!(!touched.exists(), "it was run");
    // The configuration takes programs as lists of words, which no shell ever reads.
    let evil = format!("[[upstream]]\nalias = \"x\"\ncommand = [\"/bin/echo\", \"; touch {}\"]\n", touched.display());
    let gateway = Gateway::with(move |config| {
        config.upstream = configured(&evil).upstream;
        config.unified.list_timeout = Duration::from_secs(1);
    })
    .await;
    let guest = Guest::of(&gateway, USER).await;
    guest.modern(&[], "tools/list", json!({})).await;
    assert!(!touched.exists(), "a shell read it");
}
