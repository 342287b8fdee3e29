//! Where the 32 bytes of a key come from: a text that holds them, or one that a token has wrapped them in.

use super::Vault;
use super::pkcs11::{Pkcs11, Token};
use super::wrapped::WrappedKey;
use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;

impl Vault {
    /// A keyring of keys that are given in base64 or, with `token`, wrapped by it. The current one has to be wrapped then;
    /// others may be from the time before.
    ///
    /// # Errors
    /// When a key is neither, or the token does not give it; names the fix, never the key.
    pub fn unlock(current: &Secret, previous: &[Secret], token: Option<&Pkcs11>) -> Result<Self, Fault> {
        let is_wrapped = |text: &Secret| WrappedKey::parse(text).is_some();
        if token.is_some() && !is_wrapped(current) {
            return Err(Fault::gateway(
                "the vault key is in the clear, and vault.pkcs11 is configured: replace it by what `portcullis vault wrap` \
                 makes of it",
            ));
        }
        let open = token.filter(|_| std::iter::once(current).chain(previous).any(is_wrapped));
        let open = open.map(Token::open).transpose()?;
        let plain = |text: &Secret| match WrappedKey::parse(text) {
            None => Ok(text.clone()),
            Some(wrapped) => match &open {
                Some(token) => token.unwrap(&wrapped?),
                None => {
                    Err(Fault::gateway("the vault key is wrapped by a PKCS#11 token: configure it in [vault.pkcs11]"))
                }
            },
        };
        let previous = previous.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
        Self::new(&plain(current)?, &previous)
    }

    /// Whether a text is a key that a token has wrapped.
    pub fn is_wrapped(text: &Secret) -> bool {
        WrappedKey::parse(text).is_some()
    }

    /// The line that stands for a key in its file, wrapped by a token.
    ///
    /// # Errors
    /// When it is no key, or the token does not wrap it.
    pub fn wrap_key(key: &Secret, token: &Pkcs11, random: &Random) -> Result<String, Fault> {
        Token::open(token)?.wrap(key, random)?.to_line()
    }
}
