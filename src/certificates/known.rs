//! The rows, as memory knows them, with what could be opened of them.

use super::CertificatesParts;
use crate::error::Fault;
use crate::store::StoredCertificate;
use crate::tls::{Certificate, Selection};
use crate::vault::Place;
use std::collections::BTreeMap;

/// All certificates in the database.
#[derive(Default)]
pub(super) struct Known(BTreeMap<String, Entry>);

struct Entry {
    row: StoredCertificate,
    certificate: Option<Certificate>,
}

impl Known {
    /// Reads all rows. What has not changed since `before` is not opened again; what cannot be opened is as good as missing, and the
    /// log says so.
    pub(super) async fn load(parts: &CertificatesParts, before: &Known) -> Result<Self, Fault> {
        let mut known = BTreeMap::new();
        for row in parts.store.certificates().await? {
            let same =
                before.0.get(&row.name).filter(|entry| entry.row.sealed == row.sealed && entry.row.chain == row.chain);
            let certificate = match same {
                Some(entry) => entry.certificate.clone(),
                None => open(parts, &row).unwrap_or_else(|fault| {
                    tracing::error!(name = row.name, %fault, "a certificate in the database cannot be used");
                    None
                }),
            };
            known.insert(row.name.clone(), Entry { row, certificate });
        }
        Ok(Self(known))
    }

    pub(super) fn row(&self, name: &str) -> Option<&StoredCertificate> {
        self.0.get(name).map(|entry| &entry.row)
    }

    pub(super) fn certificate(&self, name: &str) -> Option<&Certificate> {
        self.0.get(name)?.certificate.as_ref()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &StoredCertificate> {
        self.0.values().map(|entry| &entry.row)
    }

    /// Everything for the names that it is for, and the root's for all others.
    pub(super) fn selection(&self, root: &str) -> Selection {
        let mut selection = Selection::default();
        self.0.values().filter_map(|entry| entry.certificate.as_ref()).for_each(|found| selection.add(found));
        if let Some(certificate) = self.certificate(root) {
            selection.fall_back_to(certificate);
        }
        selection
    }
}

/// Where the key of a certificate is sealed.
pub(super) fn place(name: &str) -> Place<'_> {
    Place { table: "certificates", row: name, column: "sealed", person: "", upstream: "" }
}

fn open(parts: &CertificatesParts, row: &StoredCertificate) -> Result<Option<Certificate>, Fault> {
    let (Some(chain), Some(sealed)) = (&row.chain, &row.sealed) else { return Ok(None) };
    let key = parts.vault.open(&place(&row.name), sealed).map_err(Fault::gateway)?;
    Certificate::parse(chain, &key).map(Some)
}
