//! What a vault key is called.

use data_encoding::HEXLOWER;
use std::fmt;
use std::str::FromStr;

pub(super) const KEY_ID_LEN: usize = 8;

/// The name of a vault key: the beginning of a hash of it. It stands in front of every value that is sealed with the key
/// and tells nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; KEY_ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The text given is not the name of a vault key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the id of a vault key: 16 hexadecimal digits are expected")]
pub struct NotAKeyId;

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAKeyId)?;
        Ok(Self(bytes.try_into().map_err(|_| NotAKeyId)?))
    }
}
