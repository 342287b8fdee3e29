//! Random identifiers, opaque tokens and digests.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Where randomness comes from; the operating system's generator, through ring.
#[derive(Clone, Debug)]
pub struct Random(SystemRandom);

impl Default for Random {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random {
    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing here is safe to continue without it.
    #[allow(clippy::expect_used)]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes).expect("the operating system's random generator failed");
        bytes
    }

    /// The generator itself, for ring's own key generation.
    pub fn source(&self) -> &SystemRandom {
        &self.0
    }

    /// A secret of 256 bits in 43 characters of base64url (RFC 4648 §5), as used for authorization codes, refresh
    /// tokens, session cookies and `state`.
    pub fn token(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.bytes::<32>());
        Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_ref()))
    }
}

/// SHA-256 of an opaque secret: what the store keeps instead of the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of `secret`.
    pub fn of(secret: impl AsRef<[u8]>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_ref());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// From a stored column; `None` unless it has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Digest) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", HEXLOWER.encode(&self.0[..4]))
    }
}

/// The text given is not an identifier of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an identifier: 32 hexadecimal digits are expected")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh random identifier of 128 bits.
            pub fn random(random: &Random) -> Self {
                Self(random.bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAnId)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAnId)?))
            }
        }
    };
}

id!(
    /// A person: the `sub` of our access tokens, stable when the user name changes.
    UserId
);
id!(
    /// A person's consent to a client for one resource; every token issued under it carries the id.
    GrantId
);
id!(
    /// A person's authorization at an upstream.
    ConnectionId
);
id!(
    /// An API key; the part of it that is no secret.
    ApiKeyId
);
id!(
    /// A signed-in browser, by a name that may be shown: its cookie cannot be found from it.
    SessionId
);
id!(
    /// A passkey, by a name of ours that is shorter than its credential id.
    PasskeyId
);
id!(
    /// A process that serves, from its start to its end.
    NodeId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = GrantId::random(&Random::default());
        assert_eq!(id.to_string().parse::<GrantId>(), Ok(id));
        assert_eq!("zz".parse::<UserId>(), Err(NotAnId));
    }

    #[test]
    fn tokens_are_long_and_different() {
        let random = Random::default();
        let (a, b) = (random.token(), random.token());
        assert_eq!(a.len(), 43);
        assert_ne!(a, b);
    }
}
