//! The table that comes with the program: one file per provider.

use super::{Provider, read};
use crate::config::document::{Entries, Place, parse_document};
use crate::config::reader::{Errors, Reader};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// All providers of the table, by id.
pub fn built_in() -> &'static [Provider] {
    &TABLE.providers
}

/// What the table has under an id, for what the configuration says to be laid over.
pub(super) fn keys(id: &str) -> Option<Entries> {
    TABLE.keys.get(id).cloned()
}

struct Table {
    keys: BTreeMap<&'static str, Entries>,
    providers: Vec<Provider>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // compiled in, and read by a test
    let table = parse().expect("the table of providers is right");
    table
});

macro_rules! files {
    ($($id:literal)*) => {
        [$(($id, include_str!(concat!("../../providers/table/", $id, ".toml")))),*]
    };
}

/// In the order of their names, which a test compares with the directory.
static FILES: [(&str, &str); 33] = files! {
    "amplitude" "asana" "atlassian" "attio" "canva" "clickup" "cloudflare" "entra" "expo" "figma" "github"
    "gitlab" "google" "granola" "hubspot" "linear" "lovable" "miro" "monday" "notion" "plane" "posthog"
    "robinhood" "sanity" "sentry" "slack" "square" "stripe" "supabase" "superhuman" "vercel" "wordpress" "x"
};

fn parse() -> Result<Table, String> {
    let mut keys = BTreeMap::new();
    let mut providers = Vec::new();
    for (id, text) in FILES {
        let entries = parse_document(text).map_err(|why| format!("{id}.toml: {why}"))?;
        let errors = Errors::new(None);
        providers.extend(read::read(Reader::at(id, Place::Nowhere, entries.clone(), &errors), id.to_owned()));
        let wrong = errors.into_list().0;
        if !wrong.is_empty() {
            return Err(format!("{id}.toml: {}", wrong.join("\n")));
        }
        keys.insert(id, entries);
    }
    Ok(Table { keys, providers })
}
