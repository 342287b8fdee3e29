//! Which addresses may be connected to.

use std::net::IpAddr;

/// An address that must never be connected to from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is private, local or reserved; set allow_private for this upstream if that is wanted")]
pub struct Forbidden;

/// Whether an address may be connected to: with `allow_private` private and loopback ones too, but never link-local
/// (cloud metadata), unspecified, multicast or reserved ones.
///
/// # Errors
/// [`Forbidden`].
pub fn permits(address: IpAddr, allow_private: bool) -> Result<(), Forbidden> {
    let _ = (address, allow_private);
    todo!()
}
