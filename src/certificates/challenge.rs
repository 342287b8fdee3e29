//! What an authority asks in order to see whether a name is ours, and how it is answered.

use super::CertificatesParts;
use super::dns::Dns;
use crate::clock::Timestamp;
use crate::config::Challenge;
use crate::error::Fault;
use crate::store::{AcmeChallenge, Store};
use crate::tls::{Certificate, Selection};
use data_encoding::BASE64URL_NOPAD;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use std::time::Duration;

pub(super) const HTTP_01: &str = "http-01";
pub(super) const TLS_ALPN_01: &str = "tls-alpn-01";

/// How long an answer is kept if nobody removes it.
const KEPT: Duration = Duration::from_secs(3600);
/// How long other nodes may take to hear of an answer: no longer than their memory is trusted (`freshness.rs`), give or take.
const HEARD: Duration = Duration::from_millis(1500);
/// A token has 128 bits of entropy at least, in base64url (RFC 8555 §8.1).
const TOKEN: std::ops::RangeInclusive<usize> = 16..=256;

/// Whether that can be a token at all.
pub(super) fn is_token(text: &str) -> bool {
    TOKEN.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The answers for one certificate, put where the authority looks.
pub(super) struct Answers<'a> {
    parts: &'a CertificatesParts,
    challenge: &'a Challenge,
    /// The name of the certificate.
    name: &'a str,
    dns: Option<Dns<'a>>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(parts: &'a CertificatesParts, challenge: &'a Challenge, name: &'a str) -> Self {
        let dns = match challenge {
            Challenge::Dns01(records) => Some(Dns::new(records, &parts.clock)),
            Challenge::Http01 | Challenge::TlsAlpn01 => None,
        };
        Self { parts, challenge, name, dns }
    }

    /// How the authority is to ask.
    pub(super) fn kind(&self) -> ChallengeType {
        match self.challenge {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Challenge::Dns01(_) => ChallengeType::Dns01,
        }
    }

    /// Adds an answer.
    pub(super) async fn add(&mut self, domain: &str, token: &str, answer: &KeyAuthorization) -> Result<(), Fault> {
        match (self.challenge, &mut self.dns) {
            (Challenge::Http01, _) => self.put(HTTP_01, token, answer.as_str().to_owned()).await,
            (Challenge::TlsAlpn01, _) => self.put(TLS_ALPN_01, domain, answer.dns_value()).await,
            (Challenge::Dns01(_), Some(dns)) => dns.add(domain, answer.dns_value()).await,
            (Challenge::Dns01(_), None) => Ok(()),
        }
    }

    /// Waits until the answers can be seen from outside.
    pub(super) async fn visible(&self) -> Result<(), Fault> {
        match (&self.dns, self.challenge) {
            (Some(dns), _) => dns.visible().await,
            // Rows are read when they are asked for; handshakes look into memory.
            (None, Challenge::TlsAlpn01) => {
                tokio::time::sleep(HEARD).await;
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Takes everything back.
    pub(super) async fn remove(self) {
        if let Some(dns) = self.dns {
            dns.remove().await;
        }
        let removed = self.parts.store.delete_acme_challenges(self.name, self.parts.clock.now()).await;
        if let Err(error) = removed {
            tracing::warn!(name = self.name, %error, "answers to an authority stay in the database for a while");
        }
    }

    async fn put(&self, kind: &str, key: &str, answer: String) -> Result<(), Fault> {
        let challenge = AcmeChallenge {
            kind: kind.to_owned(),
            key: key.to_owned(),
            name: self.name.to_owned(),
            answer,
            expires_at: self.expiry(),
        };
        Ok(self.parts.store.put_acme_challenge(&challenge).await?)
    }

    fn expiry(&self) -> Timestamp {
        self.parts.clock.now().after(KEPT)
    }
}

/// Makes the certificates that answer TLS-ALPN-01.
pub(super) async fn prepare(store: &Store, selection: &mut Selection) -> Result<(), Fault> {
    for challenge in store.acme_challenges(TLS_ALPN_01).await? {
        match certificate(&challenge) {
            Ok(certificate) => selection.answer(challenge.key, &certificate),
            Err(fault) => tracing::error!(name = challenge.key, %fault, "a challenge cannot be answered"),
        }
    }
    Ok(())
}

/// RFC 8737 §3: self-signed, for this one name, with the digest of the answer in a critical extension.
fn certificate(challenge: &AcmeChallenge) -> Result<Certificate, Fault> {
    let digest = BASE64URL_NOPAD.decode(challenge.answer.as_bytes()).map_err(Fault::gateway)?;
    if digest.len() != 32 {
        return Err(Fault::gateway("the answer is no digest"));
    }
    let key = KeyPair::generate().map_err(Fault::gateway)?;
    let mut parameters = CertificateParams::new([challenge.key.clone()]).map_err(Fault::gateway)?;
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let signed = parameters.self_signed(&key).map_err(Fault::gateway)?;
    Certificate::made(signed.der().clone(), key.serialize_der())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_of_a_challenge_can_be_presented() {
        let challenge = |answer: &str| AcmeChallenge {
            kind: TLS_ALPN_01.to_owned(),
            key: "gw.example".to_owned(),
            name: "gw.example".to_owned(),
            answer: answer.to_owned(),
            expires_at: Timestamp(0),
        };
        let good = challenge(&BASE64URL_NOPAD.encode(&[7; 32]));
        assert_eq!(certificate(&good).unwrap().names(), ["gw.example"]);
        assert!(certificate(&challenge("c2hvcnQ")).is_err());
    }

    #[test]
    fn tokens_are_told_from_paths() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for wrong in ["", "short", "../../../../etc/passwd", "evaGxfADs6pSRb2LAv9IZf17/Dt3juxGJ", &"a".repeat(257)] {
            assert!(!is_token(wrong), "{wrong}");
        }
    }
}
