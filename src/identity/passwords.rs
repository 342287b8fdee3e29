//! Hashing and checking of passwords: argon2id (RFC 9106), a few at a time.

use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use data_encoding::BASE64_NOPAD;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many run at once. Each takes 19 MiB and a core for some tens of milliseconds; the others wait.
const AT_ONCE: usize = 2;
/// Bytes: what RFC 9106 §3.1 recommends for passwords.
const SALT_LEN: usize = 16;

/// The hashing of passwords.
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    permits: Arc<Semaphore>,
    random: Random,
    /// A hash that no password has, checked in place of the one that an unknown name has not got.
    dummy: String,
}

impl Passwords {
    /// 19 MiB, two passes, one lane: the recommendation of OWASP's password storage cheat sheet.
    #[allow(clippy::expect_used)]
    pub(super) fn new(random: Random) -> Self {
        Self::with_params(random, Params::new(19_456, 2, 1, None).expect("within the limits of argon2"))
    }

    pub(super) fn with_params(random: Random, params: Params) -> Self {
        let dummy = format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            params.m_cost(),
            params.t_cost(),
            params.p_cost(),
            BASE64_NOPAD.encode(&random.bytes::<SALT_LEN>()),
            BASE64_NOPAD.encode(&random.bytes::<{ Params::DEFAULT_OUTPUT_LEN }>()),
        );
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Self { argon2, permits: Arc::new(Semaphore::new(AT_ONCE)), random, dummy }
    }

    /// The PHC string to store.
    pub(super) async fn hash(&self, password: &Secret) -> Result<String, Fault> {
        let (argon2, password, salt) = (self.argon2.clone(), password.clone(), self.random.bytes::<SALT_LEN>());
        let hash = self.run(move || argon2.hash_password_with_salt(password.expose().as_bytes(), &salt)).await?;
        Ok(hash.map_err(|error| Fault::gateway(format!("a password cannot be hashed: {error}")))?.to_string())
    }

    /// Whether a password fits a PHC string; without one it takes as long, and does not fit.
    pub(super) async fn verify(&self, password: &Secret, hash: Option<&str>) -> Result<bool, Fault> {
        let (argon2, password) = (self.argon2.clone(), password.clone());
        let stored = hash.unwrap_or(&self.dummy).to_owned();
        let checked = self.run(move || argon2.verify_password(password.expose().as_bytes(), stored.as_str())).await?;
        match checked {
            Ok(()) => Ok(hash.is_some()),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Fault::gateway(format!("a stored password hash cannot be used: {error}"))),
        }
    }

    /// Runs on a thread that may block. The permit goes with the work: a caller that gives up does not make room for
    /// another while its own hash is still being computed.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let permit: OwnedSemaphorePermit = self.permits.clone().acquire_owned().await.map_err(Fault::gateway)?;
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(permit);
            outcome
        });
        task.await.map_err(Fault::task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn passwords_are_hashed_with_the_parameters_that_owasp_recommends() {
        let passwords = Passwords::new(Random::default());
        let hash = passwords.hash(&secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&secret("correct horse"), Some(&hash)).await.unwrap());
        assert!(!passwords.verify(&secret("correct hors"), Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn without_a_hash_the_same_work_is_done_and_nothing_fits() {
        let passwords = Passwords::new(Random::default());
        assert!(!passwords.verify(&secret("correct horse"), None).await.unwrap());
        let hash = passwords.hash(&secret("correct horse")).await.unwrap();
        let shape = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&passwords.dummy), shape(&hash), "{} is not like {hash}", passwords.dummy);
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(parameters(&passwords.dummy), parameters(&hash));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_our_own_trouble() {
        let passwords = Passwords::new(Random::default());
        assert!(passwords.verify(&secret("correct horse"), Some("plain")).await.is_err());
    }
}
