//! What single providers do otherwise, read from `providers.toml`.

use std::sync::LazyLock;
use toml_edit::{DocumentMut, Table};

/// How a provider departs from the specifications.
#[derive(Debug)]
pub(super) struct Provider {
    hosts: Vec<String>,
    /// Whether `resource` may be sent.
    pub(super) takes_resource: bool,
    /// Further parameters of the authorization request.
    pub(super) authorize: Vec<(String, String)>,
    /// Between scopes, in requests and in answers.
    pub(super) scope_separator: String,
    /// The member of the token response to look into.
    pub(super) token_member: Option<String>,
    /// Whether `token_type` must be `Bearer`.
    pub(super) checks_token_type: bool,
    /// For clients registered by hand.
    pub(super) auth_method: Option<String>,
    ended: Vec<String>,
}

impl Provider {
    /// The provider of any of these hosts; one that follows the specifications when none is in the table.
    pub(super) fn of<'a>(hosts: impl IntoIterator<Item = &'a str>) -> &'static Provider {
        let matches = |pattern: &str, host: &str| match pattern.strip_prefix('.') {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            None => host == pattern,
        };
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let known = PROVIDERS
            .iter()
            .find(|provider| provider.hosts.iter().any(|pattern| hosts.iter().any(|host| matches(pattern, host))));
        known.unwrap_or(&PLAIN)
    }

    /// Whether an error of the token endpoint means that the authorization is gone.
    pub(super) fn is_the_end(&self, code: &str) -> bool {
        code == "invalid_grant" || self.ended.iter().any(|known| known == code)
    }
}

static PLAIN: LazyLock<Provider> = LazyLock::new(|| parse(&Table::new()));

static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // compiled in, and parsed by a test
    let document: DocumentMut = include_str!("providers.toml").parse().expect("providers.toml is TOML");
    let tables = document.get("provider").and_then(|item| item.as_array_of_tables());
    tables.into_iter().flatten().map(parse).collect()
});

fn parse(table: &Table) -> Provider {
    let text = |key: &str| table.get(key).and_then(|item| item.as_str()).map(str::to_owned);
    let list = |key: &str| -> Vec<String> {
        let array = table.get(key).and_then(|item| item.as_array());
        array.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let authorize = table.get("authorize").and_then(|item| item.as_inline_table());
    Provider {
        hosts: list("hosts"),
        takes_resource: text("resource").is_none_or(|when| when != "never"),
        authorize: authorize
            .into_iter()
            .flat_map(|pairs| pairs.iter())
            .filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned())))
            .collect(),
        scope_separator: text("scope_separator").unwrap_or_else(|| " ".to_owned()),
        token_member: text("token_member"),
        checks_token_type: text("token_type").is_none_or(|which| which != "any"),
        auth_method: text("auth_method"),
        ended: list("ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        assert_eq!(PROVIDERS.len(), 5);
        let google = Provider::of(["gmailmcp.googleapis.com"]);
        assert_eq!(google.authorize[0], ("access_type".to_owned(), "offline".to_owned()));
        assert!(!Provider::of(["mcp.hubspot.com"]).takes_resource);
        let slack = Provider::of(["x.example", "slack.com"]);
        assert_eq!((slack.scope_separator.as_str(), slack.token_member.as_deref()), (",", Some("authed_user")));
        assert!(Provider::of(["github.com"]).is_the_end("bad_refresh_token"));
        let plain = Provider::of(["notslack.com"]);
        assert!(plain.takes_resource && plain.checks_token_type && plain.is_the_end("invalid_grant"));
        assert!(!plain.is_the_end("bad_refresh_token"));
    }
}
