//! People: passwords (argon2id), the first administrator, and who somebody is elsewhere.

mod linked;
mod passwords;
pub mod providers;
#[cfg(test)]
mod tests;

use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::ids::{Digest, Random, SessionId, UserId};
use crate::secret::Secret;
use crate::store::{Role, Store, StoreError, User};
use passwords::Passwords;
use std::time::Duration;

pub use linked::{Admitted, Linking};

/// Why somebody is not let in. The text is the same for an unknown name and a wrong password.
#[derive(Debug)]
pub enum LoginError {
    /// Unknown name, wrong password, disabled.
    Refused,
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// The people and their passwords. Shared behind an `Arc`.
pub struct Identity {
    store: Store,
    clock: Clock,
    random: Random,
    passwords: Passwords,
}

impl Identity {
    /// `local` is `LOCAL_USER` and `LOCAL_PASSWORD`: that administrator is created when missing and keeps the configured
    /// password.
    ///
    /// # Errors
    /// When the store fails, the name or the password does not do, or the name is that of somebody who is not an
    /// administrator.
    pub async fn new(
        store: Store,
        clock: Clock,
        random: Random,
        local: Option<&(String, Secret)>,
    ) -> Result<Self, Fault> {
        let passwords = Passwords::new(random.clone());
        Self { store, clock, random, passwords }.keeping(local).await
    }

    /// Checks a name and a password, in a time that does not tell whether the name exists. At most a few at once.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn verify(&self, name: &str, password: &Secret) -> Result<User, LoginError> {
        let user = self.store.user_by_name(name).await?;
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let fits = self.passwords.verify(password, hash).await?;
        user.filter(|user| fits && !user.disabled).ok_or(LoginError::Refused)
    }

    /// Creates a person.
    ///
    /// # Errors
    /// When the name is not 1 to 64 characters of `A-Za-z0-9._@-`, is taken, or the password is shorter than 8 characters.
    pub async fn create(&self, name: &str, password: &Secret, role: Role) -> Result<User, Fault> {
        self.add(name, Some(password), role).await
    }

    /// The same for somebody who may have no password: then the person signs in elsewhere, or gets one later.
    ///
    /// # Errors
    /// As [`Identity::create`].
    pub async fn add(&self, name: &str, password: Option<&Secret>, role: Role) -> Result<User, Fault> {
        check_name(name)?;
        password.map(check_password).transpose()?;
        self.must_be_free(name).await?;
        let hash = match password {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        self.insert(name, hash, role).await
    }

    /// Gives a person a new password and signs all of the person's browsers out.
    ///
    /// # Errors
    /// When there is no such person or the password is too short.
    pub async fn set_password(&self, name: &str, password: &Secret) -> Result<(), Fault> {
        check_password(password)?;
        match self.store.user_by_name(name).await? {
            Some(user) => self.replace_password(&user, password).await,
            None => Err(Fault::caller("there is no person of that name: `portcullis user list` shows everybody")),
        }
    }

    /// Gives a person another password for the one that the person has, and signs all browsers out but the one that asks.
    ///
    /// # Errors
    /// [`LoginError::Refused`] when that is not the password; a fault of the caller when the new one is too short.
    pub async fn change_password(
        &self,
        user: &User,
        password: &Secret,
        new: &Secret,
        kept: SessionId,
    ) -> Result<(), LoginError> {
        if !self.passwords.verify(password, user.password_hash.as_deref()).await? {
            return Err(LoginError::Refused);
        }
        check_password(new)?;
        let hash = self.passwords.hash(new).await?;
        self.store.set_password_hash(user.id, &hash).await?;
        self.store.delete_sessions_but(user.id, kept).await?;
        Ok(())
    }

    /// The one-time token that claims an installation without administrator, for [`SETUP_LIFE`]; `None` once there is one. A
    /// new call makes the earlier token worthless.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn setup_token(&self) -> Result<Option<Secret>, Fault> {
        if self.store.has_administrator().await? {
            self.store.delete_setting(SETUP_TOKEN).await?;
            return Ok(None);
        }
        let token = self.random.token();
        self.store.put_setting(SETUP_TOKEN, &SetupToken::new(token.as_bytes(), self.clock.now()).to_bytes()).await?;
        Ok(Some(Secret::new(token.to_string())))
    }

    /// Whether this is the one-time token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn can_claim(&self, token: &Secret) -> Result<bool, Fault> {
        Ok(self.usable(token).await?.is_some())
    }

    /// What is kept of the token, if it is this one and still good.
    async fn usable(&self, token: &Secret) -> Result<Option<SetupToken>, Fault> {
        let kept = self.store.setting(SETUP_TOKEN).await?.and_then(|kept| SetupToken::from_bytes(&kept));
        Ok(kept.filter(|kept| kept.lets_in(token, self.clock.now())))
    }

    /// Creates the first administrator with the one-time token; it works once.
    ///
    /// # Errors
    /// When the token is wrong, used or too old, or name or password do not do.
    pub async fn claim(&self, token: &Secret, name: &str, password: &Secret) -> Result<User, Fault> {
        let kept = self.usable(token).await?.ok_or_else(spent)?;
        if self.store.has_administrator().await? {
            return Err(spent());
        }
        // Whatever the person can correct comes before the token is used up.
        check_name(name)?;
        check_password(password)?;
        self.must_be_free(name).await?;
        let hash = self.passwords.hash(password).await?;
        if !self.store.delete_setting_if(SETUP_TOKEN, &kept.to_bytes()).await? {
            return Err(spent());
        }
        self.insert(name, Some(hash), Role::Administrator).await
    }

    /// Brings the configured administrator in step with the configuration.
    async fn keeping(self, local: Option<&(String, Secret)>) -> Result<Self, Fault> {
        let Some((name, password)) = local else { return Ok(self) };
        match self.store.user_by_name(name).await? {
            None => {
                let created = self.create(name, password, Role::Administrator).await;
                // Another node that starts at this moment may have been faster.
                if let Err(fault) = created
                    && self.store.user_by_name(name).await?.is_none()
                {
                    return Err(Fault::gateway(format!("LOCAL_USER and LOCAL_PASSWORD: {fault}")));
                }
            }
            Some(user) if user.role != Role::Administrator => {
                return Err(Fault::gateway(
                    "LOCAL_USER is the name of a person who is not an administrator: choose another name, or remove that \
                     person with `portcullis user remove`",
                ));
            }
            // Hashing anew what still fits would sign every browser out at every start.
            Some(user) if self.passwords.verify(password, user.password_hash.as_deref()).await? => {}
            Some(user) => {
                check_password(password).map_err(|fault| Fault::gateway(format!("LOCAL_PASSWORD: {fault}")))?;
                self.replace_password(&user, password).await?;
            }
        }
        Ok(self)
    }

    async fn replace_password(&self, user: &User, password: &Secret) -> Result<(), Fault> {
        let hash = self.passwords.hash(password).await?;
        self.store.set_password_hash(user.id, &hash).await?;
        self.store.delete_sessions_of(user.id).await?;
        Ok(())
    }

    async fn must_be_free(&self, name: &str) -> Result<(), Fault> {
        if self.store.user_by_name(name).await?.is_some() { Err(taken()) } else { Ok(()) }
    }

    async fn insert(&self, name: &str, password_hash: Option<String>, role: Role) -> Result<User, Fault> {
        let user = User {
            id: UserId::random(&self.random),
            name: name.to_owned(),
            password_hash,
            email: None,
            role,
            disabled: false,
            created_at: self.clock.now(),
        };
        match self.store.create_user(&user).await {
            Ok(()) => Ok(user),
            Err(StoreError::Conflict(_)) => Err(taken()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The setting that holds a [`SetupToken`].
const SETUP_TOKEN: &str = "identity.setup_token";
/// How long the one-time token is good: whoever reads the log later finds nothing in it.
pub const SETUP_LIFE: Duration = Duration::from_secs(15 * 60);
const MAX_NAME_LEN: usize = 64;
const MIN_PASSWORD_CHARS: usize = 8;

/// Whoever had this name would see in the activity page what the gateway does by itself.
const NOBODY: &str = "system";

/// What is kept of the one-time token: its digest, and when it was made.
struct SetupToken {
    digest: Digest,
    made_at: Timestamp,
}

impl SetupToken {
    fn new(token: &[u8], made_at: Timestamp) -> Self {
        Self { digest: Digest::of(token), made_at }
    }

    /// A clock that was put right by less than its life does no harm, in either direction.
    fn lets_in(&self, token: &Secret, now: Timestamp) -> bool {
        let is_young = now.since(self.made_at) < SETUP_LIFE && self.made_at.since(now) < SETUP_LIFE;
        self.digest.matches(&Digest::of(token.expose())) && is_young
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.digest.0[..], &self.made_at.0.to_be_bytes()].concat()
    }

    /// `None` for what an earlier version has kept, which knew no age.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, made_at) = bytes.split_first_chunk()?;
        Some(Self { digest: Digest(*digest), made_at: Timestamp(i64::from_be_bytes(made_at.try_into().ok()?)) })
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.eq_ignore_ascii_case(NOBODY) {
        return Err(Fault::caller("the audit log calls the gateway itself system: choose another user name"));
    }
    if (1..=MAX_NAME_LEN).contains(&name.len()) && name.chars().all(is_name_character) {
        return Ok(());
    }
    Err(Fault::caller("a user name has 1 to 64 characters: letters, digits, and . _ @ -"))
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-')
}

fn check_password(password: &Secret) -> Result<(), Fault> {
    if password.expose().chars().count() >= MIN_PASSWORD_CHARS {
        return Ok(());
    }
    Err(Fault::caller("a password has at least 8 characters"))
}

fn taken() -> Fault {
    Fault::caller("somebody has that user name already: choose another one")
}

fn spent() -> Fault {
    Fault::caller(
        "this set-up token is wrong, was used already or is older than 15 minutes: restart the gateway, its log shows a new one",
    )
}

impl From<Fault> for LoginError {
    fn from(fault: Fault) -> Self {
        LoginError::Failed(fault)
    }
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        LoginError::Failed(error.into())
    }
}
