//! Which certificate a handshake gets: looked up in a map that never changes and is replaced as a whole, so that no handshake waits.

use super::Certificate;
use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The protocol in which an authority asks for the answer of a challenge (RFC 8737 §4).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// What the listeners present at this moment.
#[derive(Debug, Default)]
pub struct Served(ArcSwap<Selection>);

/// Certificates by the names that they are for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what comes behind the asterisk and the dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
    challenges: HashMap<String, Arc<CertifiedKey>>,
}

impl Served {
    /// New connections get these from now on, open ones are not touched.
    pub fn install(&self, selection: Selection) {
        self.0.store(Arc::new(selection));
    }
}

impl Selection {
    /// One certificate for whatever is asked for.
    pub fn only(certificate: &Certificate) -> Self {
        Self { fallback: Some(certificate.certified.clone()), ..Self::default() }
    }

    /// Adds a certificate for its names.
    pub fn add(&mut self, certificate: &Certificate) {
        for name in certificate.names() {
            let (map, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.insert(key.to_owned(), certificate.certified.clone());
        }
    }

    /// What those get who ask for another name, or for none.
    pub fn fall_back_to(&mut self, certificate: &Certificate) {
        self.fallback = Some(certificate.certified.clone());
    }

    /// Adds the answer to a challenge for a name.
    pub fn answer(&mut self, name: String, certificate: &Certificate) {
        self.challenges.insert(name, certificate.certified.clone());
    }

    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let by_name = |name: &str| {
            let parent = || name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(name).or_else(|| self.wildcard.get(parent()?))
        };
        name.and_then(by_name).or(self.fallback.as_ref())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let selection = self.0.load();
        // Names come in lower case. A validating server offers this protocol alone (RFC 8737 §3).
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ACME_TLS) && protocols.next().is_none() {
            return selection.challenges.get(hello.server_name()?).cloned();
        }
        selection.find(hello.server_name()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        Certificate::parse(&pair.cert.pem(), &pair.signing_key.serialize_der()).unwrap()
    }

    #[test]
    fn the_exact_name_comes_before_the_wildcard_and_the_root_before_nothing() {
        let (root, one, many) =
            (certificate(&["gw.example"]), certificate(&["a.gw.example"]), certificate(&["*.gw.example"]));
        let mut selection = Selection::default();
        assert!(selection.find(Some("gw.example")).is_none());
        selection.fall_back_to(&root);
        [&root, &one, &many].into_iter().for_each(|certificate| selection.add(certificate));
        for (asked, expected) in [
            (Some("gw.example"), &root),
            (Some("a.gw.example"), &one),
            (Some("b.gw.example"), &many),
            (Some("c.b.gw.example"), &root),
            (Some("example"), &root),
            (None, &root),
        ] {
            assert_eq!(selection.find(asked).unwrap().cert, expected.certified.cert, "{asked:?}");
        }
    }
}
