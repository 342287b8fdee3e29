//! What single providers do otherwise, read from `providers.toml`.

use super::sealed::AtServer;
use crate::oauth::quirks::{Quirks, Revocation};
use std::sync::LazyLock;
use toml_edit::{DocumentMut, Table};

/// The quirks of the provider of any of these hosts; none when it is not in the table.
pub(super) fn quirks_of<'a>(hosts: impl IntoIterator<Item = &'a str>) -> &'static Quirks {
    let matches = |pattern: &str, host: &str| match pattern.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        None => host == pattern,
    };
    let hosts: Vec<&str> = hosts.into_iter().collect();
    let known = PROVIDERS
        .iter()
        .find(|provider| provider.hosts.iter().any(|pattern| hosts.iter().any(|host| matches(pattern, host))));
    known.map_or_else(plain, |provider| &provider.quirks)
}

/// The quirks of the provider behind a token endpoint.
pub(super) fn quirks_at(server: &AtServer) -> &'static Quirks {
    let hosts: Vec<String> = [Some(server.token_endpoint.as_str()), server.resource.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned))
        .collect();
    quirks_of(hosts.iter().map(String::as_str))
}

/// Of a provider that follows the specifications.
pub(super) fn plain() -> &'static Quirks {
    &PLAIN
}

struct Provider {
    hosts: Vec<String>,
    quirks: Quirks,
}

static PLAIN: LazyLock<Quirks> = LazyLock::new(Quirks::default);

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
    let plain = Quirks::default();
    let quirks = Quirks {
        takes_resource: text("resource").is_none_or(|when| when != "never"),
        authorize: authorize
            .into_iter()
            .flat_map(|pairs| pairs.iter())
            .filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned())))
            .collect(),
        scope_separator: text("scope_separator").unwrap_or_else(|| plain.scope_separator.clone()),
        granted_scope_separator: text("granted_scope_separator"),
        token_member: text("token_member"),
        checks_token_type: text("token_type").is_none_or(|which| which != "any"),
        auth_method: text("auth_method"),
        ended: list("ended"),
        revocation: text("revocation").and_then(|form| Revocation::parse(&form)).unwrap_or_default(),
        ..plain
    };
    Provider { hosts: list("hosts"), quirks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        assert_eq!(PROVIDERS.len(), 5);
        let google = quirks_of(["gmailmcp.googleapis.com"]);
        assert_eq!(google.authorize[0], ("access_type".to_owned(), "offline".to_owned()));
        assert!(!quirks_of(["mcp.hubspot.com"]).takes_resource);
        let slack = quirks_of(["x.example", "slack.com"]);
        assert_eq!((slack.scope_separator.as_str(), slack.token_member.as_deref()), (",", Some("authed_user")));
        assert!(quirks_of(["github.com"]).is_the_end("bad_refresh_token"));
        let plain = quirks_of(["notslack.com"]);
        assert!(plain.takes_resource && plain.checks_token_type && plain.is_the_end("invalid_grant"));
        assert!(!plain.is_the_end("bad_refresh_token"));
    }
}
