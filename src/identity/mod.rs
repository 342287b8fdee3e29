//! People: passwords (argon2id), the first administrator.

use crate::clock::Clock;
use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use crate::store::{Role, Store, User};

/// Why somebody is not let in. The text is the same for an unknown name and a wrong password.
#[derive(Debug)]
pub enum LoginError {
    /// Unknown name, wrong password, disabled.
    Refused,
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// The people and their passwords. Shared behind an `Arc`.
pub struct Identity {}

impl Identity {
    /// `local` is `LOCAL_USER` and `LOCAL_PASSWORD`: that administrator is created when missing and keeps the configured
    /// password.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new(
        store: Store,
        clock: Clock,
        random: Random,
        local: Option<&(String, Secret)>,
    ) -> Result<Self, Fault> {
        let _ = (store, clock, random, local);
        todo!()
    }

    /// Checks a name and a password, in a time that does not tell whether the name exists. At most a few at once.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn verify(&self, name: &str, password: &Secret) -> Result<User, LoginError> {
        let _ = (name, password);
        todo!()
    }

    /// Creates a person.
    ///
    /// # Errors
    /// When the name is not 1 to 64 characters of `A-Za-z0-9._@-`, is taken, or the password is shorter than 8 characters.
    pub async fn create(&self, name: &str, password: &Secret, role: Role) -> Result<User, Fault> {
        let _ = (name, password, role);
        todo!()
    }

    /// Gives a person a new password and signs all of the person's browsers out.
    ///
    /// # Errors
    /// When there is no such person or the password is too short.
    pub async fn set_password(&self, name: &str, password: &Secret) -> Result<(), Fault> {
        let _ = (name, password);
        todo!()
    }

    /// The one-time token that claims an installation without administrator; `None` once there is one. A new call makes
    /// the earlier token worthless.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn setup_token(&self) -> Result<Option<Secret>, Fault> {
        todo!()
    }

    /// Creates the first administrator with the one-time token; it works once.
    ///
    /// # Errors
    /// When the token is wrong or used, or name or password do not do.
    pub async fn claim(&self, token: &Secret, name: &str, password: &Secret) -> Result<User, Fault> {
        let _ = (token, name, password);
        todo!()
    }
}
