//! What the demonstration prints: addresses, the login, and commands to paste.

use crate::paths::{PROTECTED_RESOURCE, inserted};
use std::fmt::Write as _;

/// A line of the list of servers.
pub(super) struct Listed {
    pub(super) about: &'static str,
    /// Through the gateway.
    pub(super) url: String,
    /// The server itself.
    pub(super) behind: String,
}

/// How to get in.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    /// The button of the identity provider.
    pub(super) provider: &'a str,
}

/// The text; `servers` begins with the one that is used for an example.
pub(super) fn introduction(root: &str, login: &Login<'_>, issuer: &str, servers: &[Listed]) -> String {
    let Login { user, password, provider } = login;
    let mut text = String::new();
    let notes = servers.first().map(|listed| listed.url.as_str()).unwrap_or_default();
    let metadata = url::Url::parse(notes).map_or_else(
        |_| String::new(),
        |url| {
            let origin = url.origin().ascii_serialization();
            format!("{origin}{}", inserted(PROTECTED_RESOURCE, url.path()))
        },
    );
    let _ = write!(
        text,
        "Portcullis is running on this machine only, with nothing kept.

  Dashboard   {root}/
  User        {user}
  Password    {password}
  Or the button \"{provider}\", a mock identity provider that asks for no password

Everything at one address
  {root}/mcp

MCP servers behind it (their authorization server: {issuer})
"
    );
    for listed in servers {
        let _ = writeln!(text, "  {:<36} {} -> {}", listed.url, listed.about, listed.behind);
    }
    let _ = write!(
        text,
        "
Try it: each opens a browser; sign in as above and allow the program. Tools of servers that want to be asked, too, appear
once you have connected them: {root}/ or the link that the program is given.

  Claude Code
    claude mcp add --transport http everything {root}/mcp
    claude mcp add --transport http notes {notes}
  MCP Inspector
    npx @modelcontextprotocol/inspector --cli {root}/mcp --transport http --method tools/list
    npx @modelcontextprotocol/inspector --cli {notes} --transport http --method tools/call --tool-name whoami
  curl: the challenge, and the metadata that it points to
    curl -i {notes}
    curl {metadata}
"
    );
    text
}

/// What to do on systems that leave names below `localhost` to the name server.
pub(super) fn hosts_hint(hosts: &[String]) -> String {
    format!(
        "
Browsers and curl know where these names lead, but this system does not: programs in Node or Python will not find
them until /etc/hosts has the line
    127.0.0.1 {}
",
        hosts.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_introduction_can_be_pasted() {
        let listed = Listed {
            about: "Streamable HTTP",
            url: "http://notes.localhost:8080/mcp".to_owned(),
            behind: "http://127.0.0.1:9/mcp".to_owned(),
        };
        let login = Login { user: "demo", password: "pass", provider: "Demo Company" };
        let text = introduction("http://localhost:8080", &login, "http://127.0.0.1:8", &[listed]);
        for line in [
            "Dashboard   http://localhost:8080/",
            "claude mcp add --transport http everything http://localhost:8080/mcp",
            "claude mcp add --transport http notes http://notes.localhost:8080/mcp",
            "curl http://notes.localhost:8080/.well-known/oauth-protected-resource/mcp",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
