//! Ids of tasks, marked by the vault for one person at one upstream. An upstream that knows everybody by one credential, or by none,
//! cannot tell whose a task is, and SDKs have answered whoever knew an id (CVE-2026-52870): an id that was given to somebody else
//! is the id of nothing.

use crate::connect::ConnectionKey;
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;

const PURPOSE: &str = "unified task";
/// Between an id and its mark; no mark has it.
const SEPARATOR: char = '.';

/// Whose tasks are meant, and where.
#[derive(Clone)]
pub(super) struct Tasks {
    vault: Vault,
    owner: Vec<u8>,
}

impl Tasks {
    pub(super) fn of(vault: &Vault, key: &ConnectionKey) -> Self {
        // Neither an authority nor an account has a line break.
        let place = format!("{}\n{}\n", key.target.as_str(), key.account_text());
        Self { vault: vault.clone(), owner: [key.user.0.as_slice(), place.as_bytes()].concat() }
    }

    /// What the person knows a task by.
    pub(super) fn marked(&self, original: &str) -> String {
        let mark = self.vault.mark(PURPOSE, &self.said_of(original));
        format!("{original}{SEPARATOR}{}", BASE64URL_NOPAD.encode(&mark))
    }

    /// The inverse of [`Tasks::marked`]; `None` for what was not given to this person for this upstream.
    pub(super) fn original<'a>(&self, marked: &'a str) -> Option<&'a str> {
        let (original, mark) = marked.rsplit_once(SEPARATOR)?;
        let mark = BASE64URL_NOPAD.decode(mark.as_bytes()).ok()?;
        self.vault.has_marked(PURPOSE, &self.said_of(original), &mark).then_some(original)
    }

    fn said_of(&self, original: &str) -> Vec<u8> {
        [&self.owner, original.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::{Account, Authority};
    use crate::ids::{Random, UserId};

    #[test]
    fn a36_an_id_is_worth_something_to_its_person_at_its_upstream_only() {
        let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
        let tasks = |user: u8, authority: &str, account: Option<&str>| {
            let account = account.map(|text| Account::parse(text).unwrap());
            let authority = Authority::parse(authority).unwrap();
            Tasks::of(&vault, &ConnectionKey::upstream(UserId([user; 16]), authority, account))
        };
        let ann = tasks(1, "mcp.example", None);
        for original in ["t1", "", "a.b", "7", "e\u{e9}\n"] {
            let known = ann.marked(original);
            assert_eq!(ann.original(&known), Some(original));
            assert_eq!(ann.original(original), None, "nobody gave that out");
            for other in [
                tasks(2, "mcp.example", None),
                tasks(1, "mcp.example:8443", None),
                tasks(1, "other.example", None),
                tasks(1, "mcp.example", Some("work")),
            ] {
                assert_eq!(other.original(&known), None);
                assert_ne!(other.marked(original), known);
            }
            for wrong in [format!("{known}A"), format!("x{known}"), known[..known.len() - 4].to_owned()] {
                assert_eq!(ann.original(&wrong), None, "{wrong}");
            }
        }
    }
}
