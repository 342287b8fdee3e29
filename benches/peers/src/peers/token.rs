//! Tokens and keys for those who check them: the gateway's own token and public key for ES256, one of the same claims for HS256.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The gateway's public keys, as it publishes them.
pub struct Public {
    pub jwks: Value,
}

pub struct Keys {
    /// The gateway's own access token.
    pub es256: String,
    /// The same claims, signed with `secret`.
    pub hs256: String,
    pub secret: String,
    pub issuer: String,
    /// The gateway's public key as PEM.
    pub public_key: PathBuf,
    pub jwks: PathBuf,
}

impl Keys {
    pub fn new(directory: &Path, token: &str, public: &Public) -> Result<Self, String> {
        let claims = token.split('.').nth(1).ok_or("the token is no JWT")?;
        let decoded = URL_SAFE_NO_PAD.decode(claims).map_err(|error| error.to_string())?;
        let parsed: Value = serde_json::from_slice(&decoded).map_err(|error| error.to_string())?;
        let secret = "a secret that is thirty-two long".to_owned();
        let header = URL_SAFE_NO_PAD
            .encode(r#"{"typ":"at+jwt","alg":"HS256","kid":"a key id of the same length as a thumbprint"}"#);
        let signed = format!("{header}.{claims}");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        let (public_key, jwks) = (directory.join("public.pem"), directory.join("jwks.json"));
        let write =
            |path: &Path, text: String| fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()));
        write(&public_key, pem(public)?)?;
        write(&jwks, public.jwks.to_string())?;
        Ok(Self {
            es256: token.to_owned(),
            hs256: format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)),
            secret,
            issuer: parsed["iss"].as_str().unwrap_or_default().to_owned(),
            public_key,
            jwks,
        })
    }
}

/// SubjectPublicKeyInfo (RFC 5480) of the first key on P-256.
fn pem(public: &Public) -> Result<String, String> {
    const PREFIX: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let keys = public.jwks["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let key = keys.iter().find(|key| key["crv"] == "P-256").ok_or("the gateway publishes no key on P-256")?;
    let mut der = PREFIX.to_vec();
    for name in ["x", "y"] {
        let part = URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default());
        der.extend(part.map_err(|error| error.to_string())?);
    }
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)))
}
