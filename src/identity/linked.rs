//! Who a person of a provider is here. The link is the provider's issuer and subject; names and e-mail addresses link nobody
//! (whoever controls an address, or gets a name that has become free, must not become somebody else here).

use super::providers::Profile;
use super::{Identity, MAX_NAME_LEN};
use crate::error::Fault;
use crate::ids::UserId;
use crate::store::{LinkedIdentity, Role, StoreError, Unlinked, User};

/// How many numbers are tried behind a name that is taken, before a random one.
const NUMBERED: usize = 20;

/// A person who has just come back from a provider.
#[derive(Debug)]
pub struct Admitted {
    /// Who.
    pub user: User,
    /// Whether the account is new.
    pub is_new: bool,
    /// Whether a rule makes an administrator of somebody who is none yet.
    pub to_be_raised: bool,
}

/// What becomes of linking an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// It is the person's from now on.
    Linked,
    /// It was before.
    AlreadyYours,
    /// It is somebody else's.
    Taken,
}

impl Identity {
    /// The person behind a profile; one who is not known yet gets an account without a password. What the provider says now
    /// about e-mail is taken over; groups and the role are for [`crate::revocation::Revocations`] to set, since something may
    /// end with them. `None` when the person is disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admit(&self, profile: &Profile) -> Result<Option<Admitted>, Fault> {
        let known = self.store.identity(&profile.issuer, &profile.subject).await?;
        let (id, is_new) = match known {
            Some(identity) => (identity.user, false),
            None => self.create_from(profile).await?,
        };
        let Some(user) = self.store.user(id).await?.filter(|user| !user.disabled) else { return Ok(None) };
        self.store.use_identity(&self.identity_of(profile, id)).await?;
        let to_be_raised = profile.administrator && user.role != Role::Administrator;
        Ok(Some(Admitted { user, is_new, to_be_raised }))
    }

    /// Links an identity to a person who is signed in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn link(&self, user: UserId, profile: &Profile) -> Result<Linking, Fault> {
        match self.store.link_identity(&self.identity_of(profile, user)).await {
            Ok(()) => Ok(Linking::Linked),
            Err(StoreError::Conflict(_)) => {
                let owner = self.store.identity(&profile.issuer, &profile.subject).await?.map(|identity| identity.user);
                Ok(if owner == Some(user) { Linking::AlreadyYours } else { Linking::Taken })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets an identity of a person, unless there would be no way to sign in any more: another identity of a provider in
    /// `usable`, or a password where `passwords` are accepted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unlink(
        &self,
        user: UserId,
        (issuer, subject): (&str, &str),
        usable: &[&str],
        passwords: bool,
    ) -> Result<Unlinked, Fault> {
        let outcome = self.store.unlink_identity(user, (issuer, subject), |user, remaining| {
            let by_password = passwords && user.password_hash.is_some();
            by_password || remaining.iter().any(|identity| usable.contains(&identity.provider.as_str()))
        });
        Ok(outcome.await?)
    }

    /// A new person. Two first sign-ins at once make one.
    async fn create_from(&self, profile: &Profile) -> Result<(UserId, bool), Fault> {
        let base = user_name(&profile.name, &profile.provider);
        let numbered = (2..NUMBERED).map(|number| with_suffix(&base, &number.to_string()));
        let random = std::iter::once_with(|| with_suffix(&base, &UserId::random(&self.random).to_string()[..8]));
        for name in std::iter::once(base.clone()).chain(numbered).chain(random) {
            let user = User {
                id: UserId::random(&self.random),
                name,
                password_hash: None,
                email: profile.email.clone(),
                role: Role::Member,
                disabled: false,
                created_at: self.clock.now(),
            };
            match self.store.create_user_with_identity(&user, &self.identity_of(profile, user.id)).await {
                Ok(()) => return Ok((user.id, true)),
                Err(StoreError::Conflict(_)) => {
                    if let Some(identity) = self.store.identity(&profile.issuer, &profile.subject).await? {
                        return Ok((identity.user, false));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::gateway("no user name is free for a new person"))
    }

    fn identity_of(&self, profile: &Profile, user: UserId) -> LinkedIdentity {
        let now = self.clock.now();
        LinkedIdentity {
            issuer: profile.issuer.clone(),
            subject: profile.subject.clone(),
            provider: profile.provider.clone(),
            user,
            name: profile.name.chars().filter(|c| !c.is_control()).take(MAX_NAME_LEN).collect(),
            email: profile.email.clone(),
            created_at: now,
            last_used_at: now,
        }
    }
}

/// A user name made of what somebody is called elsewhere; `otherwise` when nothing of it can be used.
fn user_name(name: &str, otherwise: &str) -> String {
    let kept: String = name.trim().chars().map(|c| if super::is_name_character(c) { c } else { '-' }).collect();
    let kept = kept.trim_matches(['-', '.']);
    let kept = if kept.is_empty() || kept.eq_ignore_ascii_case(super::NOBODY) { otherwise } else { kept };
    kept.chars().take(MAX_NAME_LEN).collect()
}

fn with_suffix(base: &str, suffix: &str) -> String {
    let kept: String = base.chars().take(MAX_NAME_LEN - suffix.len() - 1).collect();
    format!("{kept}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_elsewhere_become_user_names() {
        for (name, expected) in [
            ("octocat", "octocat"),
            ("Ada.Lovelace@corp.com", "Ada.Lovelace@corp.com"),
            (" Ada Lovelace ", "Ada-Lovelace"),
            ("Ad\u{e4}", "Ad"),
            ("../../etc", "etc"),
            ("\u{4f60}\u{597d}", "company"),
            ("", "company"),
            ("a\r\nb<script>", "a--b-script"),
        ] {
            assert_eq!(user_name(name, "company"), expected, "{name:?}");
        }
        assert_eq!(user_name(&"x".repeat(100), "company").len(), MAX_NAME_LEN);
        assert_eq!(with_suffix(&"x".repeat(64), "2").len(), MAX_NAME_LEN);
        assert_eq!(with_suffix("octocat", "2"), "octocat-2");
    }
}
