//! How to give a server's URL to the usual clients: a link that opens the client where it knows one, and a text to copy.
//! Where the formats come from: `https://claude.com/docs/connectors/building/directory-vs-custom`,
//! `https://cursor.com/docs/mcp/install-links`, `https://code.visualstudio.com/api/extension-guides/ai/mcp`.

use crate::page::Command;
use data_encoding::BASE64;
use serde_json::json;
use url::form_urlencoded::Serializer;

/// What to do in each client. `name` and `url` have no character that a shell or JSON would read as anything but itself.
pub(super) fn commands(name: &str, url: &str) -> Vec<Command> {
    vec![claude(name, url), chatgpt(url), cursor(name, url), vscode(name, url), claude_code(name, url)]
}

fn claude(name: &str, url: &str) -> Command {
    let mut query = Serializer::new(String::new());
    query.append_pair("modal", "add-custom-connector").append_pair("connectorName", name);
    let query = query.append_pair("connectorUrl", url).finish();
    let (link, how) = match is_public(url) {
        true => (
            Some(("Add to Claude", format!("https://claude.ai/customize/connectors?{query}"))),
            "Or in Claude: Customize, Connectors, +, Add custom connector, and paste the address. The same for Claude Desktop \
             and the phone.",
        ),
        false => (None, HOSTED),
    };
    Command { client: "Claude", link, how, text: url.to_owned() }
}

fn chatgpt(url: &str) -> Command {
    let (link, how) = match is_public(url) {
        true => (
            Some(("Open ChatGPT's settings", "https://chatgpt.com/#settings/Connectors".to_owned())),
            "Under Apps (or Connectors), Advanced settings: switch Developer mode on. Then Create, paste the address as MCP \
             Server URL, and choose OAuth.",
        ),
        false => (None, HOSTED),
    };
    Command { client: "ChatGPT", link, how, text: url.to_owned() }
}

fn cursor(name: &str, url: &str) -> Command {
    let config = BASE64.encode(json!({ "url": url }).to_string().as_bytes());
    let query = Serializer::new(String::new()).append_pair("name", name).append_pair("config", &config).finish();
    let link = format!("cursor://anysphere.cursor-deeplink/mcp/install?{query}");
    Command {
        client: "Cursor",
        link: Some(("Add to Cursor", link)),
        how: "Or put this into ~/.cursor/mcp.json.",
        text: format!("{{\n  \"mcpServers\": {{\n    \"{name}\": {{ \"url\": \"{url}\" }}\n  }}\n}}"),
    }
}

fn vscode(name: &str, url: &str) -> Command {
    let entry = format!("{{\"name\":\"{name}\",\"type\":\"http\",\"url\":\"{url}\"}}");
    // VS Code decodes as decodeURIComponent does, to which a plus sign is no space; there is none in the entry.
    let encoded: String = url::form_urlencoded::byte_serialize(entry.as_bytes()).collect();
    Command {
        client: "VS Code",
        link: Some(("Add to VS Code", format!("vscode:mcp/install?{encoded}"))),
        how: "Or run this in a terminal.",
        text: format!("code --add-mcp '{entry}'"),
    }
}

fn claude_code(name: &str, url: &str) -> Command {
    Command {
        client: "Claude Code",
        link: None,
        how: "Run this in a terminal, then /mcp in Claude Code to sign in.",
        text: format!("claude mcp add --transport http {name} {url}"),
    }
}

/// What clients that run in somebody's cloud need.
const HOSTED: &str = "It connects from its maker's network, to https on the internet only: not to this address.";

/// Whether the address can be one that is reached from elsewhere.
fn is_public(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', ':']).next());
    host.is_some_and(|host| host != "localhost" && !host.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const URL: &str = "https://x-enc.gw.example/mcp";

    fn link(command: &Command) -> url::Url {
        url::Url::parse(&command.link.as_ref().unwrap().1).unwrap()
    }

    #[test]
    fn the_json_is_json() {
        let commands = commands("atlassian", URL);
        let cursor: serde_json::Value = serde_json::from_str(&commands[2].text).unwrap();
        assert_eq!(cursor["mcpServers"]["atlassian"]["url"], URL);
        let quoted = commands[3].text.split('\'').nth(1).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(quoted).unwrap()["type"], "http");
    }

    #[test]
    fn links_carry_the_name_and_the_address() {
        let commands = commands("atlassian", URL);
        let claude: HashMap<_, _> = link(&commands[0]).query_pairs().into_owned().collect();
        assert_eq!((claude["connectorName"].as_str(), claude["connectorUrl"].as_str()), ("atlassian", URL));
        let cursor: HashMap<_, _> = link(&commands[2]).query_pairs().into_owned().collect();
        assert_eq!(cursor["name"], "atlassian");
        let config = BASE64.decode(cursor["config"].as_bytes()).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&config).unwrap(), json!({ "url": URL }));
        let vscode = &commands[3].link.as_ref().unwrap().1;
        let entry = vscode.strip_prefix("vscode:mcp/install?").unwrap();
        assert!(!entry.contains('+') && !entry.contains('"'), "{entry}");
        let entry = percent_decoded(entry);
        let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(entry, json!({ "name": "atlassian", "type": "http", "url": URL }));
    }

    fn percent_decoded(text: &str) -> String {
        url::form_urlencoded::parse(text.as_bytes()).next().unwrap().0.into_owned()
    }

    #[test]
    fn what_runs_elsewhere_is_not_sent_to_this_machine() {
        for local in ["http://x-enc.localhost:8080/mcp", "https://x-enc.localhost:8443/mcp", "http://gw.example/mcp"] {
            let commands = commands("x", local);
            assert!(commands[0].link.is_none() && commands[1].link.is_none() && commands[2].link.is_some(), "{local}");
        }
    }
}
