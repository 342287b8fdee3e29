//! The columns that hold sealed values: the one list that `vault rewrap` and `vault status` go by. A test finds what the
//! schema or the code seals and this list does not have.

use super::Place;
use crate::store::{SealedColumn, SealedValue, Value};
use data_encoding::HEXLOWER;

/// A column, and how the [`Place`] of its values follows from a row.
pub(super) struct SealedPlace {
    pub(super) column: SealedColumn,
    /// What table and column are called in a place, which are not always their names in the database.
    name: (&'static str, &'static str),
    /// Row, person and upstream, out of the row's key and what is selected beside it.
    belongs: fn(&[Value], &[Value]) -> Option<Belonging>,
}

/// Whose a sealed value is, as in [`Place`].
pub(super) struct Belonging {
    pub(super) row: String,
    person: String,
    upstream: String,
}

/// Every column that is sealed. `settings` has marks of the vault's own, which are no secrets: see `marks.rs`.
pub(super) const ALL: [SealedPlace; 11] = [
    SealedPlace {
        column: SealedColumn {
            table: "connections",
            column: "sealed",
            key: &["id"],
            about: CONNECTION,
            is_text: false,
        },
        name: ("connections", "sealed"),
        belongs: |_, about| of_connection(about),
    },
    // What is left of connections that are given back to their provider stays sealed as it was.
    SealedPlace {
        column: SealedColumn { table: "partings", column: "sealed", key: &["id"], about: CONNECTION, is_text: false },
        name: ("connections", "sealed"),
        belongs: |_, about| of_connection(about),
    },
    SealedPlace {
        column: SealedColumn {
            table: "service_pats",
            column: "sealed",
            key: &["user_id", "service"],
            about: &[],
            is_text: false,
        },
        name: ("service_pats", "sealed"),
        belongs: |key, _| {
            let [user, service] = key else { return None };
            let (person, service) = (text(user)?, text(service)?);
            let upstream = format!("service:{service}");
            Some(Belonging { row: format!("{person}/{service}"), person, upstream })
        },
    },
    SealedPlace {
        column: SealedColumn {
            table: "refresh_tokens",
            column: "successor_sealed",
            key: &["token"],
            about: &["(SELECT user_id FROM grants WHERE grants.id = refresh_tokens.grant_id)"],
            is_text: false,
        },
        name: ("refresh_tokens", "successor"),
        belongs: |key, about| Some(Belonging { person: text(about.first()?)?, ..of_row(key)? }),
    },
    SealedPlace {
        column: SealedColumn {
            table: "upstream_clients",
            column: "sealed_secret",
            key: &["issuer", "redirect_uri"],
            about: &[],
            is_text: false,
        },
        name: ("upstream_clients", "secret"),
        belongs: |key, _| {
            let issuer = of_row(key)?;
            Some(Belonging { upstream: issuer.row.clone(), ..issuer })
        },
    },
    SealedPlace {
        column: SealedColumn {
            table: "authenticators",
            column: "sealed",
            key: &["user_id"],
            about: &[],
            is_text: false,
        },
        name: ("authenticators", "sealed"),
        belongs: |key, _| {
            let user = of_row(key)?;
            Some(Belonging { person: user.row.clone(), ..user })
        },
    },
    SealedPlace {
        column: SealedColumn { table: "signing_keys", column: "sealed", key: &["kid"], about: &[], is_text: false },
        name: ("signing_keys", "sealed"),
        belongs: |key, _| of_row(key),
    },
    SealedPlace {
        column: SealedColumn { table: "certificates", column: "sealed", key: &["name"], about: &[], is_text: false },
        name: ("certificates", "sealed"),
        belongs: |key, _| of_row(key),
    },
    SealedPlace {
        column: SealedColumn {
            table: "acme_accounts",
            column: "sealed",
            key: &["directory"],
            about: &[],
            is_text: false,
        },
        name: ("acme_accounts", "sealed"),
        belongs: |key, _| of_row(key),
    },
    SealedPlace {
        column: SealedColumn {
            table: "mcp_sessions",
            column: "sealed",
            key: &["token"],
            about: &["user_id"],
            is_text: false,
        },
        name: ("mcp_sessions", "sealed"),
        belongs: |key, about| Some(Belonging { person: text(about.first()?)?, ..of_row(key)? }),
    },
    // Only some flows are sealed; the others are JSON.
    SealedPlace {
        column: SealedColumn { table: "flows", column: "data", key: &["id"], about: &[], is_text: true },
        name: ("flows", "data"),
        belongs: |key, _| of_row(key),
    },
];

const CONNECTION: &[&str] = &["user_id", "authority", "account"];

impl SealedPlace {
    /// Whose a value is; `None` when the row is not of the form that it has to have.
    pub(super) fn belonging(&self, value: &SealedValue) -> Option<Belonging> {
        (self.belongs)(&value.key, &value.about)
    }

    pub(super) fn place<'a>(&'a self, belonging: &'a Belonging) -> Place<'a> {
        let (Belonging { row, person, upstream }, (table, column)) = (belonging, self.name);
        Place { table, row, column, person, upstream }
    }
}

/// Of the connection of a person, an authority and an account.
fn of_connection(about: &[Value]) -> Option<Belonging> {
    let [user, authority, account] = about else { return None };
    let (person, upstream) = (text(user)?, text(authority)?);
    Some(Belonging { row: format!("{person}/{upstream}/{}", text(account)?), person, upstream })
}

/// Of nobody in particular, in the row that the key's first column names.
fn of_row(key: &[Value]) -> Option<Belonging> {
    Some(Belonging { row: text(key.first()?)?, person: String::new(), upstream: String::new() })
}

/// As places spell it: identifiers and digests in hexadecimal.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(HEXLOWER.encode(bytes)),
        Value::Integer(_) | Value::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn every_sealed_column_of_the_schema_is_listed() {
        let store = crate::store::Store::open("sqlite::memory:").await.unwrap();
        for table in store.export().await.unwrap().tables() {
            for column in table.columns.iter().filter(|column| column.contains("sealed")) {
                let listed = ALL.iter().any(|one| one.column.table == table.name && one.column.column == column);
                assert!(listed, "{}.{column} is sealed and not in vault::places::ALL", table.name);
            }
            for place in ALL.iter().filter(|place| place.column.table == table.name) {
                let all = place.column.key.iter().chain([&place.column.column]);
                assert!(all.clone().all(|column| table.columns.iter().any(|c| c == column)), "{}", table.name);
            }
        }
    }

    #[test]
    fn every_place_in_the_code_is_listed() {
        let mut found = Vec::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 6, "the search found only {found:?}");
        // Keys of backups, and answers in the spool, are in files.
        let in_files = |table: &str| ["", "spool"].contains(&table);
        for (table, column) in found.iter().filter(|(table, _)| table != "settings" && !in_files(table)) {
            let listed = ALL.iter().any(|place| place.name == (table.as_str(), column.as_str()));
            assert!(listed, "something is sealed for {table}.{column}, which is not in vault::places::ALL");
        }
        let of_settings = found.iter().filter(|(table, _)| table == "settings").count();
        assert_eq!(of_settings, 2, "settings hold marks of the vault's own, nothing else that is sealed");
    }

    /// Table and column of every `Place { … }` that is written out outside of tests.
    fn collect(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "conformance");
            if path.is_dir() && !is_test {
                collect(&path, found);
            } else if path.is_file() && !is_test {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for place in code.split("Place {").skip(1) {
                    let literal = place.split('}').next().unwrap();
                    let part =
                        |name: &str| literal.split(name).nth(1)?.trim_start().strip_prefix('"')?.split('"').next();
                    if let (Some(table), Some(column)) = (part("table:"), part("column:")) {
                        found.push((table.to_owned(), column.to_owned()));
                    }
                }
            }
        }
    }
}
