//! The short name of an upstream, in front of what it offers. Pure, and the same for everybody at a gateway, so that names do not
//! change when somebody connects or disconnects something.

use super::naming::mark;
use crate::hostname::{Account, Authority};
use crate::upstream::Upstream;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The longest name of an upstream in a prefix: together with an account it leaves a tool 22 of its 64 characters.
const MAX_BASE: usize = 24;
/// What is before a tool of ours.
pub(super) const OURS: &str = "portcullis";

/// `[a-z][a-z0-9-]*`, at most 41 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Prefix(Box<str>);

impl Prefix {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of_parts(base: &str, account: Option<&Account>) -> Self {
        match account {
            Some(account) => Self(format!("{base}-{}", account.as_str()).into()),
            None => Self(base.into()),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The prefixes of a gateway's upstreams.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    bases: HashMap<Authority, String>,
    taken: HashSet<String>,
}

impl Prefixes {
    /// Gives every upstream a name that no other has: its alias, else the label that tells it from others, else, if another
    /// upstream has that too, its whole domain. In the last resort a digest tells them apart.
    pub(super) fn of<'a>(upstreams: impl Iterator<Item = &'a Upstream> + Clone) -> Self {
        Self::of_names(upstreams.map(|upstream| (&upstream.authority, upstream.alias.as_deref())))
    }

    fn of_names<'a>(names: impl Iterator<Item = (&'a Authority, Option<&'a str>)> + Clone) -> Self {
        let mut prefixes = Self::default();
        prefixes.taken.insert(OURS.to_owned());
        let mut nameless = Vec::new();
        for (authority, alias) in names {
            match alias.map(fitting).filter(|alias| prefixes.taken.insert(alias.clone())) {
                Some(alias) => _ = prefixes.bases.insert(authority.clone(), alias),
                None => nameless.push(authority),
            }
        }
        // Whoever comes first must not be better off: the order of upstreams says nothing.
        nameless.sort();
        let mut shared: HashMap<String, usize> = HashMap::new();
        for authority in &nameless {
            *shared.entry(fitting(distinctive(authority))).or_default() += 1;
        }
        let alone = |label: &String, taken: &HashSet<String>| shared.get(label) == Some(&1) && !taken.contains(label);
        let aliases = prefixes.taken.clone();
        for authority in nameless {
            let label = fitting(distinctive(authority));
            let base = if alone(&label, &aliases) { label } else { fitting(authority.as_str()) };
            let base = match prefixes.taken.insert(base.clone()) {
                true => base,
                false => marked(&base, authority.as_str()),
            };
            prefixes.taken.insert(base.clone());
            prefixes.bases.insert(authority.clone(), base);
        }
        prefixes
    }

    /// The prefix of an upstream, and of an account there.
    pub(super) fn prefix(&self, authority: &Authority, account: Option<&Account>) -> Prefix {
        let base = match self.bases.get(authority) {
            Some(base) => base.clone(),
            // An upstream that nobody has named: its own domain cannot be somebody else's.
            None => marked(&fitting(distinctive(authority)), authority.as_str()),
        };
        let prefix = Prefix::of_parts(&base, account);
        match account {
            Some(account) if self.taken.contains(prefix.as_str()) => {
                Prefix::of_parts(&marked(&base, authority.as_str()), Some(account))
            }
            _ => prefix,
        }
    }
}

/// Labels below which everybody can have a name.
const SHARED: [&str; 14] = [
    "ac",
    "azurewebsites",
    "co",
    "com",
    "edu",
    "fly",
    "github",
    "gov",
    "herokuapp",
    "net",
    "netlify",
    "org",
    "vercel",
    "workers",
];

/// The label that somebody would call a server by: `atlassian` of `mcp.atlassian.com`.
fn distinctive(authority: &Authority) -> &str {
    let host = authority.host();
    let labels: Vec<&str> = host.split('.').collect();
    if authority.ipv4().is_some() || labels.len() < 2 || authority.is_loopback() {
        return authority.as_str();
    }
    let mut below = labels.iter().rev().skip(1);
    match below.next() {
        Some(second) if SHARED.contains(second) => below.next().unwrap_or(second),
        Some(second) => second,
        None => host,
    }
}

/// The text in the characters of a prefix: beginning with a letter, because a URI's scheme does (RFC 3986 §3.1), and not too long.
fn fitting(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut fit: String = text.chars().map(clean).collect();
    if !fit.starts_with(|c: char| c.is_ascii_lowercase()) {
        fit.insert_str(0, "x-");
    }
    if fit.len() > MAX_BASE { marked(&fit, text) } else { fit }
}

/// The text with a digest of `original` behind it.
fn marked(text: &str, original: &str) -> String {
    let kept: String = text.chars().take(MAX_BASE - 7).collect();
    format!("{}-{}", kept.trim_end_matches('-'), mark(original))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    fn prefixes(names: &[(&str, Option<&str>)]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|(domain, alias)| (authority(domain), *alias)).collect();
        let prefixes = Prefixes::of_names(names.iter().map(|(authority, alias)| (authority, *alias)));
        names.iter().map(|(authority, _)| prefixes.prefix(authority, None).to_string()).collect()
    }

    #[test]
    fn servers_are_called_what_people_call_them() {
        for (domain, prefix) in [
            ("mcp.atlassian.com", "atlassian"),
            ("api.githubcopilot.com", "githubcopilot"),
            ("mcp.example.co.uk", "example"),
            ("notes.workers.dev", "notes"),
            ("example.com", "example"),
            ("127.0.0.1:9000", "x-127-0-0-1-9000"),
            ("localhost:9000", "localhost-9000"),
            ("1password.com", "x-1password"),
        ] {
            assert_eq!(prefixes(&[(domain, None)]), [prefix], "{domain}");
        }
    }

    #[test]
    fn whoever_would_share_a_name_uses_the_whole_domain() {
        assert_eq!(
            prefixes(&[("mcp.notion.com", None), ("mcp.notion.so", None), ("mcp.linear.app", None)]),
            ["mcp-notion-com", "mcp-notion-so", "linear"],
        );
        // An administrator's word stands.
        assert_eq!(
            prefixes(&[("mcp.notion.com", None), ("other.example", Some("notion"))]),
            ["mcp-notion-com", "notion"]
        );
        assert_eq!(prefixes(&[("portcullis.example", None)]), ["portcullis-example"]);
        let same = prefixes(&[("a-b.x.example", None), ("a.b-x.example", Some("x")), ("c.x.example", None)]);
        assert_eq!(same.iter().collect::<HashSet<_>>().len(), 3, "{same:?}");
    }

    #[test]
    fn an_account_is_part_of_the_prefix() {
        let (one, other) = (authority("mcp.notes.example"), authority("other.example"));
        let prefixes = Prefixes::of_names([(&one, None), (&other, Some("notes-work"))].into_iter());
        let account = |name| Account::parse(name).unwrap();
        assert_eq!(prefixes.prefix(&one, Some(&account("home"))).as_str(), "notes-home");
        let work = prefixes.prefix(&one, Some(&account("work")));
        assert_ne!(work, prefixes.prefix(&other, None));
        assert!(work.as_str().starts_with("notes-") && work.as_str().ends_with("-work"), "{work}");
    }

    proptest! {
        #[test]
        fn no_two_upstreams_share_a_prefix(
            domains in proptest::collection::hash_set("([a-c]{1,2}[.-]){1,4}(com|example)|[a-z]{20,30}\\.example", 1..12),
            aliases in proptest::collection::vec(proptest::option::of("[ab](-[ab]){0,2}|[a-z]{24,30}"), 12),
        ) {
            let mut seen = HashSet::new();
            let upstreams: Vec<(Authority, Option<String>)> = domains
                .iter()
                .filter_map(|domain| Authority::parse(domain).ok())
                .zip(aliases)
                .map(|(domain, alias)| (domain, alias.filter(|alias| seen.insert(alias.clone()))))
                .collect();
            let names = || upstreams.iter().map(|(authority, alias)| (authority, alias.as_deref()));
            let prefixes = Prefixes::of_names(names());
            let given: HashSet<Prefix> = upstreams.iter().map(|(one, _)| prefixes.prefix(one, None)).collect();
            prop_assert_eq!(given.len(), upstreams.len());
            for prefix in &given {
                let text = prefix.as_str();
                prop_assert!(text.len() <= MAX_BASE && text.starts_with(|c: char| c.is_ascii_lowercase()), "{}", text);
                prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", text);
            }
            let mut reversed: Vec<_> = names().collect();
            reversed.reverse();
            let again = Prefixes::of_names(reversed.into_iter());
            // Aliases are unique, so that no order matters.
            for (one, _) in &upstreams {
                prop_assert_eq!(again.prefix(one, None), prefixes.prefix(one, None));
            }
        }
    }
}
