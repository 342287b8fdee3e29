//! `/system/notes`: what the newest part of the changelog says, as it was when the program was built.

use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, NotesPage};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use std::sync::Arc;

const CHANGELOG: &str = include_str!("../../../CHANGELOG.md");

/// `GET /system/notes`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, "/system/notes").await?;
    let newest = newest(CHANGELOG);
    Ok(page::notes(&NotesPage {
        account: rows::account(&person),
        version: env!("CARGO_PKG_VERSION"),
        title: newest.title,
        parts: &newest.parts,
    }))
}

/// A version of the changelog.
struct Release<'t> {
    title: &'t str,
    /// Each with its heading.
    parts: Vec<(&'t str, Vec<String>)>,
}

/// The first section of a changelog in the form of Keep a Changelog: `## version`, `### heading`, `- entry`.
fn newest(text: &str) -> Release<'_> {
    let mut release = Release { title: "", parts: Vec::new() };
    for line in text.lines().skip_while(|line| !line.starts_with("## ")) {
        let entries = release.parts.last_mut().map(|(_, entries)| entries);
        if let Some(title) = line.strip_prefix("## ") {
            if !release.title.is_empty() {
                break;
            }
            release.title = title;
        } else if let Some(heading) = line.strip_prefix("### ") {
            release.parts.push((heading, Vec::new()));
        } else if let (Some(entries), Some(entry)) = (entries, line.strip_prefix("- ")) {
            entries.push(plain(entry));
        } else if let Some(entry) = release.parts.last_mut().and_then(|(_, entries)| entries.last_mut())
            && !line.trim().is_empty()
        {
            entry.push(' ');
            entry.push_str(&plain(line.trim()));
        }
    }
    release
}

/// Without the marks of code.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_is_read() {
        let text = "# Changelog\n\nAll.\n\n## Unreleased\n\n### Added\n- One `thing`,\n  and more.\n- Two.\n\n### Fixed\n- Three.\n\n## 1.0\n### Added\n- Old.\n";
        let release = newest(text);
        assert_eq!(release.title, "Unreleased");
        let added = vec!["One thing, and more.".to_owned(), "Two.".to_owned()];
        assert_eq!(release.parts, [("Added", added), ("Fixed", vec!["Three.".to_owned()])]);
    }

    #[test]
    fn the_changelog_that_is_built_in_has_entries() {
        assert!(newest(CHANGELOG).parts.iter().all(|(_, entries)| !entries.is_empty()));
        assert!(!newest(CHANGELOG).parts.is_empty());
    }
}
