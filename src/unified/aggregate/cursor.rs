//! Where a page of a merged list ended. A cursor names the last entry instead of a number: lists change, and another node goes on as
//! well. It carries a mark of the vault's, so that it is worth something to its person only.

use super::lists::Kind;
use crate::ids::UserId;
use crate::mcp::rpc::RpcError;
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;

const PURPOSE: &str = "unified cursor";
/// Between what a cursor is made of; no prefix has it.
const SEPARATOR: char = '\n';
const MARK: usize = 32;

/// The last entry of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of its member.
    pub(super) prefix: String,
    /// What the caller knows it by.
    pub(super) key: String,
}

pub(super) fn seal(vault: &Vault, user: UserId, kind: Kind, place: &Place) -> String {
    let text = format!("{}{SEPARATOR}{}", place.prefix, place.key);
    let mut bytes = vault.mark(PURPOSE, &marked(user, kind, &text)).to_vec();
    bytes.extend_from_slice(text.as_bytes());
    BASE64URL_NOPAD.encode(&bytes)
}

/// # Errors
/// -32602 for what is no cursor of this person's for such a list.
pub(super) fn open(vault: &Vault, user: UserId, kind: Kind, cursor: &str) -> Result<Place, RpcError> {
    let read = || {
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
        let (mark, text) = bytes.split_at_checked(MARK)?;
        let text = std::str::from_utf8(text).ok()?;
        let (prefix, key) = text.split_once(SEPARATOR)?;
        let good = vault.has_marked(PURPOSE, &marked(user, kind, text), mark);
        good.then(|| Place { prefix: prefix.to_owned(), key: key.to_owned() })
    };
    read().ok_or_else(stale)
}

/// There is nothing to go on from.
pub(super) fn stale() -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMS, "Invalid cursor: begin the list again without one")
}

fn marked(user: UserId, kind: Kind, text: &str) -> Vec<u8> {
    [user.0.as_slice(), kind.method().as_bytes(), b"\n", text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;

    #[test]
    fn a_cursor_is_good_for_its_person_and_its_list_only() {
        let random = Random::default();
        let key = Vault::generate_key(&random);
        let vault = Vault::new(&key, &[]).unwrap();
        let (ann, bob) = (UserId([1; 16]), UserId([2; 16]));
        let place = || Place { prefix: "notes".to_owned(), key: "notes_a".to_owned() };
        let cursor = seal(&vault, ann, Kind::Tools, &place());
        assert_eq!(open(&vault, ann, Kind::Tools, &cursor), Ok(place()));
        assert!(open(&vault, bob, Kind::Tools, &cursor).is_err());
        assert!(open(&vault, ann, Kind::Prompts, &cursor).is_err());
        for bad in ["", "x", "AAAA", &cursor[1..], &format!("{cursor}AA")] {
            assert_eq!(open(&vault, ann, Kind::Tools, bad).unwrap_err().code, RpcError::INVALID_PARAMS);
        }
    }
}
