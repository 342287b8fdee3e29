//! Public keys of passkeys: COSE keys (RFC 9052 §7, RFC 9053 §7) of the three kinds that we ask for.

use super::Refused;
use super::data::item;
use ciborium::Value;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// What registration offers, the most wanted first: ES256, EdDSA, and RS256 for Windows.
pub(in crate::factors) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

// Labels of a key's parameters, and values of `kty` and `crv`.
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV_OR_N: i64 = -1;
const X_OR_E: i64 = -2;
const Y: i64 = -3;
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
const P256: i64 = 1;
const CURVE_25519: i64 = 6;

/// A key that verifies.
pub(super) enum PublicKey {
    /// An uncompressed point.
    Es256([u8; 65]),
    EdDsa([u8; 32]),
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    pub(super) fn parse(cose: &[u8]) -> Result<Self, Refused> {
        let (Value::Map(fields), []) = item(cose)? else { return Err(Refused::Key) };
        let find = |label: i64| fields.iter().find(|(name, _)| *name == Value::from(label)).map(|(_, value)| value);
        let number = |label| find(label).and_then(Value::as_integer).and_then(|number| i64::try_from(number).ok());
        let bytes = |label| find(label).and_then(Value::as_bytes).ok_or(Refused::Key);
        let coordinate =
            |label| bytes(label).and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| Refused::Key));
        match (number(KTY), number(ALG), number(CRV_OR_N)) {
            (Some(EC2), Some(ES256), Some(P256)) => {
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&coordinate(X_OR_E)?);
                point[33..].copy_from_slice(&coordinate(Y)?);
                Ok(Self::Es256(point))
            }
            (Some(OKP), Some(EDDSA), Some(CURVE_25519)) => Ok(Self::EdDsa(coordinate(X_OR_E)?)),
            (Some(RSA), Some(RS256), None) => {
                Ok(Self::Rs256 { n: bytes(CRV_OR_N)?.clone(), e: bytes(X_OR_E)?.clone() })
            }
            _ => Err(Refused::Key),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.is_ok()
    }
}
