//! A PKCS#11 token (an HSM, a smart card, SoftHSM) that wraps the vault key: the key is in no file in the clear, and unwrapped
//! once, when the gateway starts or reads its configuration again. Rows never go to the token.
//!
//! The module is a library that is loaded into this process, so it is loaded only where `[vault.pkcs11]` names one, and
//! finalised when the key is there.

use super::pin::{self, Tries};
use super::wrapped::{Mechanism, WrappedKey};
use super::{KeyId, VaultKey};
use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism as TokenMechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use data_encoding::BASE64;
use parking_lot::{Mutex, MutexGuard};
use std::fmt::Display;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// `[vault.pkcs11]`
#[derive(Clone)]
pub struct Pkcs11 {
    /// The token's module, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of its key: AES, or an RSA pair.
    pub key: String,
    /// The user PIN.
    pub pin: Secret,
}

/// A token that we are signed in at; finalised when this goes.
pub(super) struct Token<'a> {
    settings: &'a Pkcs11,
    /// `None` only while it goes.
    module: Option<Module>,
    session: Option<Session>,
    /// A module has one state for the whole process.
    _alone: MutexGuard<'static, ()>,
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const NONCE_LEN: usize = 12;
const TAG_BITS: u64 = 128;

impl<'a> Token<'a> {
    /// Loads the module, finds the token and signs in, with one attempt.
    pub(super) fn open(settings: &'a Pkcs11) -> Result<Self, Fault> {
        let _alone = ONE_AT_A_TIME.lock();
        let path = settings.module.display();
        if !settings.module.is_file() {
            return Err(Fault::gateway(format!(
                "vault.pkcs11.module: there is no file {path}: install the token's PKCS#11 module, or correct the path"
            )));
        }
        let module = Module::new(&settings.module)
            .map_err(|error| Fault::gateway(format!("vault.pkcs11.module: {path} is no PKCS#11 module ({error})")))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(Fault::gateway(format!("the PKCS#11 module {path} does not start: {error}"))),
        }
        let mut token = Self { settings, module: Some(module.clone()), session: None, _alone };
        let (slot, info) = token.find(&module)?;
        let session = module.open_ro_session(slot).map_err(|error| token.failed("opens no session", error))?;
        token.sign_in(&module, slot, &info, &session)?;
        token.session = Some(session);
        Ok(token)
    }

    /// Wraps a vault key for the key file.
    pub(super) fn wrap(&self, key: &Secret, random: &Random) -> Result<WrappedKey, Fault> {
        let bytes = BASE64.decode(key.expose().trim().as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| Fault::caller("a vault key is 32 bytes in base64 on one line"))?;
        let id =
            VaultKey::new(&bytes).ok_or_else(|| Fault::caller("a vault key is 32 bytes in base64 on one line"))?.id();
        let (mechanism, data) = match self.object(ObjectClass::SECRET_KEY, KeyType::AES)? {
            Some(object) => (Mechanism::AesGcm, self.encrypt_gcm(object, random, id, &bytes)?),
            None => match self.object(ObjectClass::PUBLIC_KEY, KeyType::RSA)? {
                Some(object) => (Mechanism::RsaOaep, self.encrypt_oaep(object, &bytes)?),
                None => return Err(self.no_key()),
            },
        };
        let names = (self.settings.token.as_str(), self.settings.key.as_str());
        Ok(WrappedKey::new(mechanism, names, id, &data))
    }

    /// The vault key, in base64.
    pub(super) fn unwrap(&self, wrapped: &WrappedKey) -> Result<Secret, Fault> {
        let (id, data) = (wrapped.id()?, wrapped.data()?);
        let (class, kind) = match wrapped.mechanism {
            Mechanism::AesGcm => (ObjectClass::SECRET_KEY, KeyType::AES),
            Mechanism::RsaOaep => (ObjectClass::PRIVATE_KEY, KeyType::RSA),
        };
        let object = self.object(class, kind)?.ok_or_else(|| self.no_key())?;
        let opened = match wrapped.mechanism {
            Mechanism::AesGcm => self.decrypt_gcm(object, id, &data),
            Mechanism::RsaOaep => self.session()?.decrypt(&oaep(), object, &data).map_err(|error| error.to_string()),
        };
        let opened = opened.map(Zeroizing::new).map_err(|error| self.other_key(wrapped, error))?;
        match VaultKey::new(&opened) {
            Some(key) if key.id() == id => Ok(Secret::new(BASE64.encode(&opened))),
            _ => Err(self.other_key(wrapped, "what came out is another key")),
        }
    }

    fn find(&self, module: &Module) -> Result<(Slot, TokenInfo), Fault> {
        let slots = module.get_slots_with_token().map_err(|error| self.failed("shows no tokens", error))?;
        let mut labels = Vec::new();
        for slot in slots {
            let Ok(info) = module.get_token_info(slot) else { continue };
            if info.label() == self.settings.token && info.token_initialized() {
                return Ok((slot, info));
            }
            if info.token_initialized() {
                labels.push(format!("{:?}", info.label()));
            }
        }
        let there = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        Err(Fault::gateway(format!(
            "there is no token {:?} (there is: {there}): plug it in, or correct vault.pkcs11.token",
            self.settings.token
        )))
    }

    fn sign_in(&self, module: &Module, slot: Slot, info: &TokenInfo, session: &Session) -> Result<(), Fault> {
        if let Some(why) = Tries::of(info).objection() {
            return Err(self.refused(why));
        }
        let pin = AuthPin::from(self.settings.pin.expose().to_owned());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                let left = module.get_token_info(slot).map(|info| Tries::of(&info)).unwrap_or_default().left();
                Err(self.refused(&format!("the PIN in vault.pkcs11.pin_file is wrong; {left}. It was tried once")))
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(self.refused(pin::LOCKED)),
            Err(error) => Err(self.failed("refuses the sign-in", error)),
        }
    }

    /// The one key of the configured label.
    fn object(&self, class: ObjectClass, kind: KeyType) -> Result<Option<ObjectHandle>, Fault> {
        let label = Attribute::Label(self.settings.key.clone().into_bytes());
        let template = [Attribute::Class(class), Attribute::KeyType(kind), label];
        let found = self.session()?.find_objects(&template).map_err(|error| self.failed("shows no keys", error))?;
        match found.as_slice() {
            [] => Ok(None),
            [object] => Ok(Some(*object)),
            _ => Err(Fault::gateway(format!(
                "the token {:?} has several keys {:?}: give one of them another label",
                self.settings.token, self.settings.key
            ))),
        }
    }

    fn encrypt_gcm(&self, key: ObjectHandle, random: &Random, id: KeyId, value: &[u8]) -> Result<Vec<u8>, Fault> {
        let (mut nonce, context) = (random.bytes::<NONCE_LEN>(), context(id));
        let failed = |error| self.failed("does not encrypt with AES-GCM", error);
        let params = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?;
        let mut mechanism = TokenMechanism::AesGcm(params);
        let sealed = self.session()?.encrypt(&mechanism, key, value).map_err(failed)?;
        // Some tokens choose the nonce themselves and write it over ours.
        let nonce = match &mut mechanism {
            TokenMechanism::AesGcm(params) => params.iv().to_vec(),
            _ => Vec::new(),
        };
        Ok([nonce, sealed].concat())
    }

    fn decrypt_gcm(&self, key: ObjectHandle, id: KeyId, data: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, sealed) = data.split_first_chunk::<NONCE_LEN>().ok_or("it is too short")?;
        let (mut nonce, context) = (*nonce, context(id));
        let params = GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(|error| error.to_string())?;
        let session = self.session().map_err(|fault| fault.to_string())?;
        session.decrypt(&TokenMechanism::AesGcm(params), key, sealed).map_err(|error| error.to_string())
    }

    fn encrypt_oaep(&self, key: ObjectHandle, value: &[u8]) -> Result<Vec<u8>, Fault> {
        self.session()?
            .encrypt(&oaep(), key, value)
            .map_err(|error| self.failed("does not encrypt with RSA-OAEP", error))
    }

    fn session(&self) -> Result<&Session, Fault> {
        self.session.as_ref().ok_or_else(|| self.refused("the session has ended"))
    }

    fn no_key(&self) -> Fault {
        Fault::gateway(format!(
            "the token {:?} has no AES key and no RSA key pair {:?}: make one there (pkcs11-tool --module {} --login \
             --token-label … --keygen --key-type AES:32 --label …), or correct vault.pkcs11.key",
            self.settings.token,
            self.settings.key,
            self.settings.module.display()
        ))
    }

    fn other_key(&self, wrapped: &WrappedKey, error: impl Display) -> Fault {
        let Pkcs11 { token, key, .. } = self.settings;
        Fault::gateway(format!(
            "the key {key:?} of the token {token:?} does not unwrap the vault key ({error}): it was wrapped with the key {:?} \
             of the token {:?}, or is damaged; use that key, or a copy of the file",
            wrapped.key, wrapped.token
        ))
    }

    fn refused(&self, why: &str) -> Fault {
        Fault::gateway(format!("the token {:?} cannot be used: {why}", self.settings.token))
    }

    fn failed(&self, what: &str, error: Error) -> Fault {
        Fault::gateway(format!("the token {:?} {what}: {error}", self.settings.token))
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        // The session ends before the module does, which signs out.
        self.session = None;
        if let Some(module) = self.module.take() {
            let _ = module.finalize();
        }
    }
}

fn oaep() -> TokenMechanism<'static> {
    let params = PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
    TokenMechanism::RsaPkcsOaep(params)
}

/// What is authenticated together with the key.
fn context(id: KeyId) -> Vec<u8> {
    format!("portcullis vault key {id}").into_bytes()
}
