//! People's signed-in browsers, and what else lets them in.

use super::records::{FactorsReset, Moment, Session, SignedOut};
use super::{Actor, Administration, Page, Refused};
use crate::ids::{PasskeyId, SessionId};
use crate::session::device;
use crate::store;

impl Administration {
    /// A person's sessions, the one that was used last first.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn sessions_of(&self, user: &str) -> Result<Page<Session>, Refused> {
        let user = self.person(user).await?;
        Ok(Page::whole(self.sessions.of(&user).await?.into_iter().map(Session::from).collect()))
    }

    /// Signs one browser of a person out.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn end_session(&self, actor: &Actor, user: &str, id: &str) -> Result<(), Refused> {
        let user = self.person(user).await?;
        let missing = || Refused::no("session", id);
        let parsed: SessionId = id.parse().map_err(|_| missing())?;
        if !self.store.delete_session_of(user.id, parsed).await? {
            return Err(missing());
        }
        self.record(actor, "session.ended", &user.name);
        Ok(())
    }

    /// Signs all browsers of a person out, and ends what clients may do for the person if that is wanted too.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn sign_out_everywhere(&self, actor: &Actor, user: &str, clients: bool) -> Result<SignedOut, Refused> {
        let user = self.person(user).await?;
        let grants = self.revocations.sign_out_everywhere(user.id, clients).await?;
        self.record(actor, "user.signed_out", &user.name);
        Ok(SignedOut { grants })
    }

    /// Takes one passkey away from a person; what it was called.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn remove_passkey(&self, actor: &Actor, user: &str, id: &str) -> Result<String, Refused> {
        let user = self.person(user).await?;
        let missing = || Refused::no("passkey", id);
        let parsed: PasskeyId = id.parse().map_err(|_| missing())?;
        let held = self.store.passkeys_of(user.id).await?;
        let passkey = held.into_iter().find(|passkey| passkey.id == parsed).ok_or_else(missing)?;
        self.store.delete_passkey(user.id, parsed).await?;
        self.record(actor, "passkey.removed", &format!("{} of {}", passkey.name, user.name));
        Ok(passkey.name)
    }

    /// How many grants of a person are in force.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn grants_in_force(&self, user: &str) -> Result<i64, Refused> {
        let user = self.person(user).await?;
        Ok(self.store.person_extent(user.id, self.clock.now()).await?.grants)
    }

    /// Takes authenticator app, passkeys and recovery codes away from a person who is locked out, and signs the person
    /// out.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn reset_factors(&self, actor: &Actor, user: &str) -> Result<FactorsReset, Refused> {
        let user = self.person(user).await?;
        let had_any = self.store.delete_factors(user.id).await?;
        self.record(actor, "user.factors_reset", &user.name);
        Ok(FactorsReset { had_any })
    }
}

impl From<store::Session> for Session {
    fn from(session: store::Session) -> Self {
        Self {
            id: session.id.to_string(),
            browser: device(&session.user_agent),
            means: session.means,
            address: session.address,
            created_at: Moment(session.created_at),
            last_seen_at: Moment(session.last_seen_at),
            expires_at: Moment(session.expires_at),
        }
    }
}
