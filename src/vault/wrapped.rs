//! A vault key that a token has wrapped: one line of JSON in the place of the key itself.

use super::KeyId;
use crate::error::Fault;
use crate::secret::Secret;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// What stands in the key file when `[vault.pkcs11]` is used. Worth nothing without the token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrappedKey {
    /// Always `pkcs11`.
    pub(super) wrapped: Kind,
    pub(super) mechanism: Mechanism,
    /// The labels of the token and of its key, for error messages.
    pub(super) token: String,
    pub(super) key: String,
    /// The id of the vault key inside.
    id: String,
    /// In base64.
    data: String,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "pkcs11")]
    Pkcs11,
}

/// How the token's key wraps.
#[derive(Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(super) enum Mechanism {
    /// `CKM_AES_GCM`; the data is a nonce of 12 bytes, ciphertext, and a tag of 16 bytes.
    #[serde(rename = "AES-GCM")]
    AesGcm,
    /// `CKM_RSA_PKCS_OAEP` with SHA-1, which is what every token has, and which OAEP does not depend on.
    #[serde(rename = "RSA-OAEP")]
    RsaOaep,
}

impl WrappedKey {
    pub(super) fn new(mechanism: Mechanism, (token, key): (&str, &str), id: KeyId, data: &[u8]) -> Self {
        let (token, key) = (token.to_owned(), key.to_owned());
        Self { wrapped: Kind::Pkcs11, mechanism, token, key, id: id.to_string(), data: BASE64.encode(data) }
    }

    /// `None` when the text is something else, such as a key in the clear.
    pub(super) fn parse(text: &Secret) -> Option<Result<Self, Fault>> {
        let text = text.expose().trim();
        text.starts_with('{').then(|| serde_json::from_str(text).map_err(|_| damaged()))
    }

    pub(super) fn id(&self) -> Result<KeyId, Fault> {
        self.id.parse().map_err(|_| damaged())
    }

    pub(super) fn data(&self) -> Result<Vec<u8>, Fault> {
        BASE64.decode(self.data.as_bytes()).map_err(|_| damaged())
    }

    pub(super) fn to_line(&self) -> Result<String, Fault> {
        serde_json::to_string(self).map_err(Fault::gateway)
    }
}

fn damaged() -> Fault {
    Fault::gateway("the wrapped vault key is damaged: use a copy of what `portcullis vault wrap` made")
}
