//! Passkeys: registration, and sign-in without a name.

use super::Factors;
use super::webauthn::{ALGORITHMS, Ceremony, Refused, Signed};
use crate::error::Fault;
use crate::ids::{Digest, PasskeyId, UserId};
use crate::secret::Secret;
use crate::store::{Flow, Passkey, StoreError, User};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of the name that a person gives to a passkey, in characters.
const MAX_NAME: usize = 60;

/// Why a passkey is not taken.
#[derive(Debug)]
pub enum PasskeyError {
    /// It does not prove what it should.
    Refused(Refused),
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// What the page sends of `AuthenticatorAttestationResponse`, bytes in base64url.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    attestation_object: String,
}

/// What the page sends of `AuthenticatorAssertionResponse`, bytes in base64url.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assertion {
    id: String,
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
    user_handle: String,
}

impl Factors {
    /// `PublicKeyCredentialCreationOptions` as JSON, with a challenge for this browser only.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn passkey_creation(&self, user: &User, browser: Digest) -> Result<Value, Fault> {
        let holder = self.store.make_passkey_holder(user.id, &self.random.bytes()).await?;
        let known = self.store.passkeys_of(user.id).await?;
        let kinds: Vec<Value> = ALGORITHMS.iter().map(|alg| json!({ "type": "public-key", "alg": alg })).collect();
        let descriptor = |passkey: &Passkey| json!({ "type": "public-key", "id": encode(&passkey.credential_id) });
        Ok(json!({
            "challenge": self.challenge(Ceremony::Create, browser).await?,
            "rp": { "id": self.relying_party.domain, "name": self.issuer },
            "user": { "id": encode(&holder.handle), "name": user.name, "displayName": user.name },
            "pubKeyCredParams": kinds,
            "excludeCredentials": known.iter().map(descriptor).collect::<Vec<_>>(),
            "authenticatorSelection": {
                "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
            },
            "attestation": "none",
            "timeout": PATIENCE.as_millis() as u64,
        }))
    }

    /// Keeps the passkey that an authenticator made.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub async fn register_passkey(
        &self,
        user: &User,
        browser: Digest,
        name: &str,
        answer: &str,
    ) -> Result<Passkey, PasskeyError> {
        let answer: Creation = serde_json::from_str(answer).map_err(|_| Refused::Malformed)?;
        let client_data = decode(&answer.client_data)?;
        self.answered(Ceremony::Create, browser, &client_data).await?;
        let created = self.relying_party.created(&decode(&answer.attestation_object)?)?;
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        let passkey = Passkey {
            id: PasskeyId::random(&self.random),
            credential_id: created.credential_id,
            user: user.id,
            name: if name.is_empty() { "Passkey".to_owned() } else { name },
            public_key: created.public_key,
            sign_count: created.sign_count,
            created_at: self.clock.now(),
            last_used_at: None,
        };
        match self.store.insert_passkey(&passkey).await {
            Ok(()) => Ok(passkey),
            Err(StoreError::Conflict(_)) => Err(Refused::Unknown.into()),
            Err(error) => Err(PasskeyError::Failed(error.into())),
        }
    }

    /// `PublicKeyCredentialRequestOptions` as JSON, with a challenge for this browser only. It names nobody: the passkey
    /// does.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn passkey_request(&self, browser: Digest) -> Result<Value, Fault> {
        Ok(json!({
            "challenge": self.challenge(Ceremony::Get, browser).await?,
            "rpId": self.relying_party.domain,
            "userVerification": "required",
            "timeout": PATIENCE.as_millis() as u64,
        }))
    }

    /// Whose passkey this is.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub async fn check_passkey(&self, browser: Digest, answer: &str) -> Result<User, PasskeyError> {
        let answer: Assertion = serde_json::from_str(answer).map_err(|_| Refused::Malformed)?;
        let client_data = decode(&answer.client_data)?;
        self.answered(Ceremony::Get, browser, &client_data).await?;
        let passkey = self.store.passkey(&decode(&answer.id)?).await?.ok_or(Refused::Unknown)?;
        let holder = self.store.passkey_holder(passkey.user).await?.ok_or(Refused::Unknown)?;
        if decode(&answer.user_handle)? != holder.handle {
            return Err(Refused::Unknown.into());
        }
        let authenticator_data = decode(&answer.authenticator_data)?;
        let signature = decode(&answer.signature)?;
        let signed =
            Signed { client_data: &client_data, authenticator_data: &authenticator_data, signature: &signature };
        let sign_count = self.relying_party.signed(&signed, &passkey.public_key)?;
        let user = self.store.user(passkey.user).await?.filter(|user| !user.disabled).ok_or(Refused::Unknown)?;
        if !self.store.use_passkey(passkey.id, sign_count, self.clock.now()).await? {
            return Err(Refused::Counter.into());
        }
        Ok(user)
    }

    /// Removes one of a person's passkeys; `false` when there is no such one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_passkey(&self, user: UserId, id: PasskeyId) -> Result<bool, Fault> {
        let removed = self.store.delete_passkey(user, id).await?;
        self.forget_needless_codes(user).await?;
        Ok(removed)
    }

    /// Asks for a passkey after the password from now on, or no more. Recovery codes for this one time, where there were
    /// none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ask_for_passkey(&self, user: UserId, after_password: bool) -> Result<Option<Vec<Secret>>, Fault> {
        self.store.ask_for_passkey(user, after_password).await?;
        let held = self.of(user).await?;
        if held.passkey_after_password && held.recovery_codes == 0 {
            return self.renew_codes(user).await.map(Some);
        }
        self.forget_needless_codes(user).await?;
        Ok(None)
    }

    async fn challenge(&self, ceremony: Ceremony, browser: Digest) -> Result<String, Fault> {
        let challenge = self.random.token().to_string();
        let (id, expires_at) = (handle(ceremony, &challenge), self.clock.now().after(PATIENCE));
        self.store.insert_flow(&Flow { id, session: browser, data: "{}".to_owned(), expires_at }).await?;
        Ok(challenge)
    }

    /// Checks what the browser collected, and uses the challenge up.
    async fn answered(&self, ceremony: Ceremony, browser: Digest, client_data: &[u8]) -> Result<(), PasskeyError> {
        let data = self.relying_party.client_data(ceremony, client_data)?;
        let (id, now) = (handle(ceremony, &data.challenge), self.clock.now());
        // Looked at first, so that another browser cannot use it up.
        let known = self.store.flow(&id, now).await?;
        if !known.is_some_and(|flow| flow.session.matches(&browser)) {
            return Err(Refused::Challenge.into());
        }
        match self.store.take_flow(&id, now).await? {
            Some(_) => Ok(()),
            None => Err(Refused::Challenge.into()),
        }
    }
}

/// Under which a challenge is found, and nothing of another kind.
fn handle(ceremony: Ceremony, challenge: &str) -> Digest {
    Digest::of(format!("passkey {ceremony:?} {challenge}"))
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, Refused> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Refused::Malformed)
}

impl From<Refused> for PasskeyError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for PasskeyError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
