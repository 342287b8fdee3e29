//! What a person has beside a password: an authenticator app, recovery codes, passkeys.

mod passkeys;
mod qr;
mod recovery;
#[cfg(test)]
pub(crate) mod soft;
#[cfg(test)]
mod tests;
mod totp;
mod webauthn;

pub use passkeys::PasskeyError;
pub use qr::QrImage;
pub use webauthn::Refused;

#[cfg(test)]
pub(crate) use totp::code_at;

use crate::clock::Clock;
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::{Digest, Random, UserId};
use crate::secret::Secret;
use crate::store::{Authenticator, Passkey, Store, User};
use crate::vault::{Place, Vault};
use std::time::Duration;
use webauthn::RelyingParty;
use zeroize::Zeroizing;

/// What a person has, and wants to be asked for.
pub struct Held {
    /// Whether there is an authenticator app that counts.
    pub authenticator: bool,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
    /// Passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
    /// Whether a passkey is asked for after the password.
    pub passkey_after_password: bool,
}

/// An authenticator app that is about to be set up.
pub struct Enrolment {
    /// The secret in groups of four, for people who cannot scan.
    pub secret: Secret,
    /// For those who can.
    pub image: QrImage,
}

/// What a code turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The authenticator's.
    Code,
    /// A recovery code, which is used up now.
    Recovery,
}

/// The second factors of all people. Shared behind an `Arc`.
pub struct Factors {
    store: Store,
    vault: Vault,
    clock: Clock,
    random: Random,
    /// What authenticator apps show above a code.
    issuer: String,
    relying_party: RelyingParty,
}

impl Factors {
    /// For the gateway of a site.
    pub fn new(store: Store, vault: Vault, clock: Clock, random: Random, site: &Site) -> Self {
        let issuer = format!("Portcullis ({})", site.domain());
        let relying_party = RelyingParty { domain: site.domain().to_owned(), origin: site.root_origin() };
        Self { store, vault, clock, random, issuer, relying_party }
    }

    /// What a person has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, user: UserId) -> Result<Held, Fault> {
        let authenticator = self.store.authenticator(user).await?;
        let passkeys = self.store.passkeys_of(user).await?;
        let holder = self.store.passkey_holder(user).await?;
        Ok(Held {
            authenticator: authenticator.is_some_and(|known| known.confirmed_at.is_some()),
            recovery_codes: self.store.recovery_codes_left(user).await?,
            passkey_after_password: !passkeys.is_empty() && holder.is_some_and(|holder| holder.after_password),
            passkeys,
        })
    }

    /// Begins to set an authenticator app up, or shows again what this browser has begun; `None` when the person has one.
    ///
    /// # Errors
    /// When the store or the vault fails.
    pub async fn enrol(&self, user: &User, browser: Digest) -> Result<Option<Enrolment>, Fault> {
        let now = self.clock.now();
        let secret = match self.store.authenticator(user.id).await? {
            Some(known) if known.confirmed_at.is_some() => return Ok(None),
            Some(known) if known.browser == browser && now.since(known.created_at) < ENROLMENT => self.open(&known)?,
            _ => {
                let secret = Zeroizing::new(self.random.bytes::<{ totp::SECRET_LEN }>().to_vec());
                let row = user.id.to_string();
                let new = Authenticator {
                    user: user.id,
                    sealed: self.vault.seal(&place(&row), &secret),
                    browser,
                    last_step: -1,
                    created_at: now,
                    confirmed_at: None,
                };
                if !self.store.put_authenticator(&new).await? {
                    return Ok(None);
                }
                secret
            }
        };
        let uri = Zeroizing::new(totp::uri(&secret, &self.issuer, &user.name));
        let image = QrImage::of(&uri).ok_or_else(|| Fault::gateway("a name is too long for a QR code"))?;
        Ok(Some(Enrolment { secret: Secret::new(totp::spelled(&secret)), image }))
    }

    /// Lets an authenticator app that this browser sets up count once it has shown its first code. The recovery codes, for
    /// this one time; `None` when the code is wrong.
    ///
    /// # Errors
    /// When the store or the vault fails.
    pub async fn confirm(&self, user: UserId, browser: Digest, code: &str) -> Result<Option<Vec<Secret>>, Fault> {
        let is_waiting = |known: &Authenticator| known.confirmed_at.is_none() && known.browser == browser;
        let Some(waiting) = self.store.authenticator(user).await?.filter(is_waiting) else { return Ok(None) };
        let now = self.clock.now();
        let Some(step) = totp::step_of(&self.open(&waiting)?, code, now) else { return Ok(None) };
        let (codes, digests) = self.fresh_codes();
        let confirmed = self.store.confirm_authenticator(&waiting, step, &digests, now).await?;
        Ok(confirmed.then_some(codes))
    }

    /// Checks a code of the authenticator app, or a recovery code, and uses it up: the same never counts twice. `None` when
    /// it is neither.
    ///
    /// # Errors
    /// When the store or the vault fails.
    pub async fn check(&self, user: UserId, code: &str) -> Result<Option<Accepted>, Fault> {
        if let Some(digest) = recovery::digest(code) {
            return Ok(self.store.use_recovery_code(user, &digest).await?.then_some(Accepted::Recovery));
        }
        let known = self.store.authenticator(user).await?.filter(|known| known.confirmed_at.is_some());
        let Some(known) = known else { return Ok(None) };
        let Some(step) = totp::step_of(&self.open(&known)?, code, self.clock.now()) else { return Ok(None) };
        Ok(self.store.use_step(user, step).await?.then_some(Accepted::Code))
    }

    /// Removes the authenticator app, and the recovery codes with it unless a passkey is asked for; `false` when there is
    /// none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_authenticator(&self, user: UserId) -> Result<bool, Fault> {
        let removed = self.store.delete_authenticator(user).await?;
        self.forget_needless_codes(user).await?;
        Ok(removed)
    }

    /// Other recovery codes in place of all earlier ones, for this one time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew_codes(&self, user: UserId) -> Result<Vec<Secret>, Fault> {
        let (codes, digests) = self.fresh_codes();
        self.store.put_recovery_codes(user, &digests).await?;
        Ok(codes)
    }

    /// Recovery codes stand in for something; without it they would only be another way in.
    async fn forget_needless_codes(&self, user: UserId) -> Result<(), Fault> {
        let held = self.of(user).await?;
        if !held.authenticator && !held.passkey_after_password {
            self.store.put_recovery_codes(user, &[]).await?;
        }
        Ok(())
    }

    fn fresh_codes(&self) -> (Vec<Secret>, Vec<Digest>) {
        let codes = recovery::generate(&self.random);
        let digests = codes.iter().filter_map(|code| recovery::digest(code.expose())).collect();
        (codes, digests)
    }

    fn open(&self, authenticator: &Authenticator) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let row = authenticator.user.to_string();
        self.vault.open(&place(&row), &authenticator.sealed).map_err(Fault::gateway)
    }
}

impl Held {
    /// Whether something has to come after the password, by the person's own wish.
    pub fn asks(&self) -> bool {
        self.authenticator || self.passkey_after_password
    }

    /// Whether there is anything that could come after it.
    pub fn suffices(&self) -> bool {
        self.authenticator || !self.passkeys.is_empty()
    }
}

/// How long the secret of an authenticator app that was never confirmed may be shown again.
const ENROLMENT: Duration = Duration::from_secs(3600);

/// `row` is the person's id.
fn place(row: &str) -> Place<'_> {
    Place { table: "authenticators", row, column: "sealed", person: row, upstream: "" }
}

/// `abcdefgh` as `abcd efgh`.
fn grouped(text: &str, separator: char) -> String {
    let mut grouped = String::with_capacity(text.len() * 5 / 4);
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            grouped.push(separator);
        }
        grouped.push(character);
    }
    grouped
}
