//! The vault's current key: given, read, or made on first start.

use super::VaultKeys;
use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use crate::vault::Vault;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The keyring of a gateway that starts. When the current key is to come from a file that is not there, the file is made,
/// with mode 0600, in a way that two processes starting at once end up with the same key. Without key and file (a database
/// in memory) the key lives as long as the process.
///
/// # Errors
/// When the file cannot be read or made, is empty, or others than its owner may read it, or a token does not unwrap a key;
/// the text says what to do.
pub fn keyring(keys: &VaultKeys, random: &Random) -> Result<Vault, Fault> {
    let current = match (&keys.key, &keys.key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => match read(path)? {
            Some(key) => key,
            None if keys.pkcs11.is_some() => {
                return Err(missing(path, "make it with `portcullis vault wrap --out FILE`"));
            }
            None => make(path, random)?,
        },
        (None, None) => Vault::generate_key(random),
    };
    Vault::unlock(&current, &keys.previous, keys.pkcs11.as_ref())
}

/// The keyring of a gateway that runs and reads its configuration again: nothing is made. `None` when the key lives as long
/// as the process.
///
/// # Errors
/// As [`keyring`].
pub fn keyring_again(keys: &VaultKeys) -> Result<Option<Vault>, Fault> {
    let current = match (&keys.key, &keys.key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => read(path)?.ok_or_else(|| missing(path, "put it back"))?,
        (None, None) => return Ok(None),
    };
    Vault::unlock(&current, &keys.previous, keys.pkcs11.as_ref()).map(Some)
}

fn missing(path: &Path, fix: &str) -> Fault {
    Fault::gateway(format!("there is no vault key {}: {fix}", path.display()))
}

/// A key in the clear, in base64, from a file of its owner alone.
///
/// # Errors
/// When there is none, or others may read it.
pub fn read_vault_key(path: &Path) -> Result<Secret, Fault> {
    let text = read(path)?.ok_or_else(|| missing(path, "name a file that holds one"))?;
    normalize(&text).ok_or_else(|| Fault::caller(format!("{} holds no vault key", path.display())))
}

/// Writes a new key, or one that a token has wrapped, into a file of its owner alone.
///
/// # Errors
/// When there is something already, or it cannot be written.
pub fn write_vault_key(path: &Path, line: &Secret) -> Result<(), Fault> {
    write_new(path, line).and_then(|()| sync_directory(path)).map_err(|error| {
        Fault::caller(format!(
            "{} cannot be written ({error}): name a new file in a directory of yours",
            path.display()
        ))
    })
}

/// The text of a key in the one form that the vault takes, from base64 or 64 hexadecimal digits of 32 bytes; a wrapped one
/// as it is.
pub(super) fn normalize(text: &Secret) -> Option<Secret> {
    if Vault::is_wrapped(text) {
        return Some(text.clone());
    }
    let text = text.expose().trim().as_bytes();
    let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() == 32);
    let bytes =
        Zeroizing::new(bytes.or_else(|| HEXLOWER_PERMISSIVE.decode(text).ok()).filter(|bytes| bytes.len() == 32)?);
    Some(Secret::new(BASE64.encode(&bytes)))
}

fn read(path: &Path) -> Result<Option<Secret>, Fault> {
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    if mode & 0o077 != 0 {
        return Err(Fault::gateway(format!(
            "the vault key {0} may be read by others than its owner (mode {1:03o}): run `chmod 600 {0}`",
            path.display(),
            mode & 0o777
        )));
    }
    super::secrets::read(path).map(Some).map_err(|why| Fault::gateway(format!("vault.key_file: {why}")))
}

fn make(path: &Path, random: &Random) -> Result<Secret, Fault> {
    let failed = |error: io::Error| {
        let hint = "let the user that runs portcullis write there, or set vault.key_file";
        Fault::gateway(format!("the vault key {} cannot be made ({error}): {hint}", path.display()))
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let key = Vault::generate_key(random);
    // Written aside and linked into place: nobody ever reads half a key, and the loser of a race takes the winner's.
    let aside = path.with_extension(format!("{}.new", &*random.token()));
    let written = write_new(&aside, &key).and_then(|()| std::fs::hard_link(&aside, path));
    let _ = std::fs::remove_file(&aside);
    match written {
        Ok(()) => {
            sync_directory(path).map_err(failed)?;
            tracing::info!(path = %path.display(), "made a new vault key; keep a copy of it apart from the database");
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| Fault::gateway(format!("the vault key {} vanished", path.display())))
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_new(path: &Path, key: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(Zeroizing::new(format!("{}\n", key.expose())).as_bytes())?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::gateway(format!(
        "the vault key {} cannot be read ({error}): let the user that runs portcullis read it",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KeyId;

    fn keys_in(path: &Path) -> VaultKeys {
        VaultKeys { key: None, key_file: Some(path.to_owned()), previous: Vec::new(), pkcs11: None }
    }

    fn read_or_make(path: &Path) -> Result<KeyId, Fault> {
        keyring(&keys_in(path), &Random::default()).map(|vault| vault.current_key())
    }

    #[test]
    fn a_missing_key_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/vault.key");
        assert!(keyring_again(&keys_in(&path)).is_err(), "a gateway that runs makes none");
        let first = read_or_make(&path).unwrap();
        assert_eq!(first, read_or_make(&path).unwrap());
        assert_eq!(first, keyring_again(&keys_in(&path)).unwrap().unwrap().current_key());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn processes_that_start_together_agree() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.key");
        let made: Vec<KeyId> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| read_or_make(&path).unwrap());
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0]));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.key");
        let key = Vault::generate_key(&Random::default());
        std::fs::write(&path, key.expose()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let fault = read_or_make(&path).err().unwrap();
        assert!(fault.private.contains("chmod 600"), "{fault}");
        assert!(!fault.private.contains(key.expose()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_or_make(&path).unwrap(), Vault::new(&key, &[]).unwrap().current_key());
    }

    #[test]
    fn keys_come_in_base64_or_hexadecimal() {
        let hexadecimal = Secret::new("00ff".repeat(16));
        let base64 = normalize(&hexadecimal).unwrap();
        assert!(normalize(&base64).unwrap().matches(base64.expose()));
        for bad in ["", "secret", "AAAA", &"0".repeat(63)] {
            assert!(normalize(&Secret::new(bad.to_owned())).is_none(), "{bad}");
        }
    }
}
