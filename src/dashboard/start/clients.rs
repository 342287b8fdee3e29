//! How to give a server's URL to the usual clients.

use crate::page::Command;

/// What to do in each client, with a text to copy. `name` and `url` have no character that a shell or JSON would read as
/// anything but itself.
pub(super) fn commands(name: &str, url: &str) -> Vec<Command> {
    vec![
        Command {
            client: "Claude.ai",
            how: "Settings, Connectors, Add custom connector: paste the address.",
            text: url.to_owned(),
        },
        Command {
            client: "Claude Code",
            how: "Run this in a terminal.",
            text: format!("claude mcp add --transport http {name} {url}"),
        },
        Command {
            client: "Cursor",
            how: "Put this into ~/.cursor/mcp.json.",
            text: format!("{{\n  \"mcpServers\": {{\n    \"{name}\": {{ \"url\": \"{url}\" }}\n  }}\n}}"),
        },
        Command {
            client: "VS Code",
            how: "Run this in a terminal.",
            text: format!("code --add-mcp '{{\"name\":\"{name}\",\"type\":\"http\",\"url\":\"{url}\"}}'"),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_json() {
        let commands = commands("atlassian", "https://x-enc.gw.example/mcp");
        let cursor: serde_json::Value = serde_json::from_str(&commands[2].text).unwrap();
        assert_eq!(cursor["mcpServers"]["atlassian"]["url"], "https://x-enc.gw.example/mcp");
        let quoted = commands[3].text.split('\'').nth(1).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(quoted).unwrap()["type"], "http");
    }
}
