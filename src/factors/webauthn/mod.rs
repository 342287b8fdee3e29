//! Web Authentication (https://www.w3.org/TR/webauthn-3/), the part of a relying party that asks for no attestation: what
//! an authenticator says is checked here, without a look at the database. Numbers of steps are those of the specification.

mod data;
mod key;
#[cfg(test)]
pub(super) mod tests;

use crate::ids::Digest;
use data::AuthenticatorData;
pub(super) use key::ALGORITHMS;
use key::PublicKey;
use serde::Deserialize;

/// Us, as authenticators and browsers know us.
pub(super) struct RelyingParty {
    /// The root domain: the RP ID.
    pub(super) domain: String,
    /// The root's origin, and no other: upstream content lives on sibling hosts, for which browsers would sign as well.
    pub(super) origin: String,
}

/// Which ceremony a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceremony {
    /// Registration (§7.1).
    Create,
    /// Authentication (§7.2).
    Get,
}

/// Why an answer is not accepted, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not what a browser sends.
    #[error("the answer cannot be read")]
    Malformed,
    /// An answer to something else.
    #[error("the answer is not one to this ceremony")]
    WrongType,
    /// Ours, but not for this browser, used, or too old; or not ours at all.
    #[error("the challenge is unknown, used or too old")]
    Challenge,
    /// From a page that is not ours.
    #[error("the answer was made on another origin")]
    Origin,
    /// For somebody else.
    #[error("the passkey belongs to another domain")]
    RelyingParty,
    /// Nobody touched the authenticator, or it does not know who.
    #[error("the authenticator did not verify its person")]
    NotVerified,
    /// A kind of key that was not asked for.
    #[error("the kind of key is not supported")]
    Key,
    /// Not signed with that key.
    #[error("the signature is wrong")]
    Signature,
    /// No such passkey, or it is not of the person that it names.
    #[error("the passkey is unknown")]
    Unknown,
    /// The counter did not go up: there are two of this authenticator.
    #[error("the counter of the passkey went back: it may have been copied")]
    Counter,
}

/// A new passkey, as its authenticator describes it.
pub(super) struct Created {
    pub(super) credential_id: Vec<u8>,
    /// A COSE key (RFC 9052 §7), as it came.
    pub(super) public_key: Vec<u8>,
    pub(super) sign_count: u32,
}

/// What an authenticator signed.
pub(super) struct Signed<'a> {
    pub(super) client_data: &'a [u8],
    pub(super) authenticator_data: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// `CollectedClientData` (§5.8.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    r#type: String,
    /// In base64url, as it was sent.
    pub(super) challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

impl RelyingParty {
    /// Reads what the browser collected, and checks everything about it but the challenge, which is the caller's business
    /// (§7.1 steps 5-11, §7.2 steps 9-14).
    pub(super) fn client_data(&self, ceremony: Ceremony, json: &[u8]) -> Result<ClientData, Refused> {
        let data: ClientData = serde_json::from_slice(json).map_err(|_| Refused::Malformed)?;
        let expected = match ceremony {
            Ceremony::Create => "webauthn.create",
            Ceremony::Get => "webauthn.get",
        };
        if data.r#type != expected {
            return Err(Refused::WrongType);
        }
        if data.origin != self.origin || data.cross_origin {
            return Err(Refused::Origin);
        }
        Ok(data)
    }

    /// Checks a new passkey (§7.1 steps 13-26). Whatever attestation comes with it is not looked at: none was asked for,
    /// and what it says about the maker of an authenticator decides nothing here.
    pub(super) fn created(&self, attestation_object: &[u8]) -> Result<Created, Refused> {
        let data = data::of_attestation(attestation_object)?;
        let data = AuthenticatorData::parse(&data)?;
        self.check(&data)?;
        let credential = data.credential.ok_or(Refused::Malformed)?;
        PublicKey::parse(credential.public_key)?;
        Ok(Created {
            credential_id: credential.id.to_vec(),
            public_key: credential.public_key.to_vec(),
            sign_count: data.sign_count,
        })
    }

    /// Checks a signature of a known passkey (§7.2 steps 15-21). The counter, to be compared with the last one.
    pub(super) fn signed(&self, signed: &Signed<'_>, public_key: &[u8]) -> Result<u32, Refused> {
        let data = AuthenticatorData::parse(signed.authenticator_data)?;
        self.check(&data)?;
        let message = [signed.authenticator_data, &Digest::of(signed.client_data).0].concat();
        if !PublicKey::parse(public_key)?.verify(&message, signed.signature) {
            return Err(Refused::Signature);
        }
        Ok(data.sign_count)
    }

    fn check(&self, data: &AuthenticatorData<'_>) -> Result<(), Refused> {
        if !Digest::of(&self.domain).matches(&data.rp_id_hash) {
            return Err(Refused::RelyingParty);
        }
        if !data.user_present || !data.user_verified {
            return Err(Refused::NotVerified);
        }
        Ok(())
    }
}
