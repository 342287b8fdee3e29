//! What an upstream's things are called where several upstreams are seen at once, and back. Pure: names in, names out.
//!
//! A tool `search` of `atlassian` is `atlassian_search`. Clients, and the models behind them, take at most 64 characters out of
//! `[A-Za-z0-9_-]`, so what has others is cleaned, what is longer is cut, and both end in a digest of the original. A prefix has no
//! `_`, so the first one splits.

use super::prefix::Prefix;
use crate::ids::Digest;
use std::borrow::Cow;

/// What clients take for a name at most, in characters.
pub(super) const MAX_NAME: usize = 64;
/// How many characters of a digest mark a changed name.
const MARK: usize = 6;

/// How a member's things are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// As the upstream calls them: the caller sees no other.
    Plain,
    /// Behind a prefix.
    Prefixed(Prefix),
}

/// What a name that a caller uses stands for at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Original<'a> {
    /// This one.
    Is(&'a str),
    /// One that was changed: only the upstream's list tells which.
    WasChanged,
    /// Nothing of this member's.
    Foreign,
}

impl Naming {
    /// Whether nothing is renamed.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Naming::Plain)
    }

    /// What callers know a tool or a prompt by.
    pub(super) fn name<'a>(&self, original: &'a str) -> Cow<'a, str> {
        let Naming::Prefixed(prefix) = self else { return Cow::Borrowed(original) };
        let room = MAX_NAME - prefix.as_str().len() - 1;
        if original.len() <= room && is_clean(original) && !looks_changed(original) {
            return Cow::Owned(format!("{prefix}_{original}"));
        }
        let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let kept: String = original.chars().map(clean).take(room - MARK - 1).collect();
        Cow::Owned(format!("{prefix}_{kept}_{}", mark(original)))
    }

    /// The inverse of [`Naming::name`].
    pub(super) fn original<'a>(&self, name: &'a str) -> Original<'a> {
        let Naming::Prefixed(prefix) = self else { return Original::Is(name) };
        match name.split_once('_') {
            Some((before, rest)) if before == prefix.as_str() => match looks_changed(rest) {
                true => Original::WasChanged,
                false => Original::Is(rest),
            },
            _ => Original::Foreign,
        }
    }

    /// What callers know a resource, or a template, by. Clients look for the scheme `ui`, so that stays in front.
    pub(super) fn uri(&self, original: &str) -> String {
        match (self, original.strip_prefix(UI)) {
            (Naming::Plain, _) => original.to_owned(),
            (Naming::Prefixed(prefix), Some(rest)) => format!("{UI}{prefix}+{rest}"),
            (Naming::Prefixed(prefix), None) => format!("{prefix}+{original}"),
        }
    }

    /// The inverse of [`Naming::uri`]; `None` for a URI of another member.
    pub(super) fn original_uri<'a>(&self, uri: &'a str) -> Option<Cow<'a, str>> {
        let Naming::Prefixed(prefix) = self else { return Some(Cow::Borrowed(uri)) };
        match uri.strip_prefix(UI) {
            Some(rest) => Some(Cow::Owned(format!("{UI}{}", behind(rest, prefix, '+')?))),
            None => behind(uri, prefix, '+').map(Cow::Borrowed),
        }
    }

    /// What callers know a task by.
    pub(super) fn task(&self, original: &str) -> String {
        match self {
            Naming::Plain => original.to_owned(),
            Naming::Prefixed(prefix) => format!("{prefix}:{original}"),
        }
    }

    /// The inverse of [`Naming::task`]; `None` for a task of another member.
    pub(super) fn original_task<'a>(&self, task: &'a str) -> Option<&'a str> {
        match self {
            Naming::Plain => Some(task),
            Naming::Prefixed(prefix) => behind(task, prefix, ':'),
        }
    }
}

const UI: &str = "ui://";

fn behind<'a>(text: &'a str, prefix: &Prefix, separator: char) -> Option<&'a str> {
    let (before, rest) = text.split_once(separator)?;
    (before == prefix.as_str()).then_some(rest)
}

fn is_clean(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a name ends as one does that was changed. An original that does so by chance is changed as well, or two names could
/// become one.
fn looks_changed(name: &str) -> bool {
    let Some((_, end)) = name.rsplit_once('_') else { return false };
    let mut bytes = end.bytes();
    end.len() == MARK
        && bytes.next().is_some_and(|first| DIGITS.contains(&first))
        && bytes.all(|byte| LETTERS.contains(&byte))
}

/// The first character of a mark is a digit, so that hardly any word looks like one.
const DIGITS: &[u8; 6] = b"234567";
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Six characters of a digest.
pub(super) fn mark(original: &str) -> String {
    let Digest(digest) = Digest::of(original);
    let first = digest.first().map(|byte| DIGITS[usize::from(*byte) % DIGITS.len()]);
    let others = digest.iter().skip(1).map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()]);
    first.into_iter().chain(others).take(MARK).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixed(prefix: &str) -> Naming {
        Naming::Prefixed(Prefix::of_parts(prefix, None))
    }

    #[test]
    fn names_are_readable_where_they_can_be() {
        let atlassian = prefixed("atlassian");
        for (original, name) in [
            ("search", "atlassian_search"),
            ("get_issue", "atlassian_get_issue"),
            ("list_events", "atlassian_list_events"),
            ("report_202401", "atlassian_report_202401"),
        ] {
            assert_eq!(atlassian.name(original), name);
            assert_eq!(atlassian.original(name), Original::Is(original));
        }
        assert_eq!(
            atlassian.name("admin.users/list"),
            format!("atlassian_admin_users_list_{}", mark("admin.users/list"))
        );
        assert_eq!(Naming::Plain.name("admin.users/list"), "admin.users/list");
        assert_eq!(atlassian.original("github_search"), Original::Foreign);
        assert_eq!(atlassian.original("search"), Original::Foreign);
    }

    #[test]
    fn uris_keep_the_scheme_that_clients_look_for() {
        let files = prefixed("files");
        assert_eq!(files.uri("file:///a/{path}"), "files+file:///a/{path}");
        assert_eq!(files.uri("ui://widget/a.html"), "ui://files+widget/a.html");
        assert_eq!(files.original_uri("ui://files+widget/a.html").as_deref(), Some("ui://widget/a.html"));
        assert_eq!(files.original_uri("ui://notes+widget/a.html"), None);
        assert_eq!(files.original_uri("notes+file:///a"), None);
        assert_eq!(files.original_uri("file:///a"), None);
    }

    proptest! {
        #[test]
        fn names_are_valid_and_lead_back(prefix in "[a-z][a-z0-9-]{0,22}", original in "\\PC{0,200}") {
            let naming = prefixed(&prefix);
            let name = naming.name(&original).into_owned();
            prop_assert!(name.len() <= MAX_NAME, "{name}");
            prop_assert!(is_clean(&name), "{name}");
            match naming.original(&name) {
                Original::Is(back) => prop_assert_eq!(back, original),
                Original::WasChanged => prop_assert!(name.ends_with(&mark(&original))),
                Original::Foreign => prop_assert!(false, "{}", name),
            }
        }

        #[test]
        fn different_originals_have_different_names(
            prefix in "[a-z][a-z0-9-]{0,22}",
            one in "[a-z._/ ]{1,4}|[a-zA-Z0-9_.-]{1,90}",
            other in "[a-z._/ ]{1,4}|[a-zA-Z0-9_.-]{1,90}",
        ) {
            let naming = prefixed(&prefix);
            prop_assert_eq!(naming.name(&one) == naming.name(&other), one == other);
            // What a changed name looks like is no way to another one's name.
            let taken = naming.name(&one).into_owned();
            if let Some((_, imitation)) = taken.split_once('_') {
                prop_assert_eq!(naming.name(imitation) == taken.as_str(), imitation == one);
            }
        }

        #[test]
        fn uris_and_tasks_lead_back(prefix in "[a-z][a-z0-9-]{0,22}", original in "(ui://)?\\PC{0,60}") {
            let naming = prefixed(&prefix);
            let (uri, task) = (naming.uri(&original), naming.task(&original));
            prop_assert_eq!(naming.original_uri(&uri), Some(Cow::Borrowed(original.as_str())));
            prop_assert_eq!(naming.original_task(&task), Some(original.as_str()));
        }
    }
}
