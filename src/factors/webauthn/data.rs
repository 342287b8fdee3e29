//! Authenticator data (§6.1) and the attestation object around it (§6.5.4).

use super::Refused;
use crate::ids::Digest;
use ciborium::Value;

/// What an authenticator says about itself and what it did.
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: Digest,
    pub(super) user_present: bool,
    pub(super) user_verified: bool,
    pub(super) sign_count: u32,
    /// With a registration.
    pub(super) credential: Option<Credential<'a>>,
}

/// A new credential (§6.5.2).
pub(super) struct Credential<'a> {
    pub(super) id: &'a [u8],
    /// Exactly one CBOR item.
    pub(super) public_key: &'a [u8],
}

// Flags (§6.1).
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;
const AAGUID_LEN: usize = 16;
/// Of a credential id (§7.1 step 25).
const MAX_ID_LEN: usize = 1023;

impl<'a> AuthenticatorData<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Refused> {
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>().ok_or(Refused::Malformed)?;
        let ([flags, count @ ..], rest) = rest.split_first_chunk::<5>().ok_or(Refused::Malformed)?;
        let has = |flag: u8| flags & flag != 0;
        if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
            return Err(Refused::Malformed);
        }
        let (credential, rest) = match has(HAS_CREDENTIAL) {
            true => Credential::split(rest).map(|(credential, rest)| (Some(credential), rest))?,
            false => (None, rest),
        };
        if has(HAS_EXTENSIONS) == rest.is_empty() {
            return Err(Refused::Malformed);
        }
        Ok(Self {
            rp_id_hash: Digest(*rp_id_hash),
            user_present: has(USER_PRESENT),
            user_verified: has(USER_VERIFIED),
            sign_count: u32::from_be_bytes(*count),
            credential,
        })
    }
}

impl<'a> Credential<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Refused> {
        let rest = bytes.get(AAGUID_LEN..).ok_or(Refused::Malformed)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Refused::Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > MAX_ID_LEN {
            return Err(Refused::Malformed);
        }
        let (id, rest) = rest.split_at_checked(length).ok_or(Refused::Malformed)?;
        let (_, after) = item(rest)?;
        let (public_key, rest) = rest.split_at(rest.len() - after.len());
        Ok((Self { id, public_key }, rest))
    }
}

/// The authenticator data in an attestation object.
pub(super) fn of_attestation(object: &[u8]) -> Result<Vec<u8>, Refused> {
    let (Value::Map(fields), []) = item(object)? else { return Err(Refused::Malformed) };
    let data = fields.into_iter().find_map(|(name, value)| match (name, value) {
        (Value::Text(name), Value::Bytes(data)) if name == "authData" => Some(data),
        _ => None,
    });
    data.ok_or(Refused::Malformed)
}

/// The CBOR item at the beginning, and what comes after it.
pub(super) fn item(mut bytes: &[u8]) -> Result<(Value, &[u8]), Refused> {
    /// The real ones have two levels.
    const DEEPEST: usize = 8;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEEPEST).map_err(|_| Refused::Malformed)?;
    Ok((value, bytes))
}
