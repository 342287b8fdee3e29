//! Access tokens of ours (decision 1): minted, verified, and cut off when their grant ends.

mod keys;
mod lives;
mod mint;
mod ring_provider;
mod verify;

pub use keys::SigningKeys;
pub use lives::{GrantLife, GrantLives};
pub use mint::NewToken;
pub use verify::{AccessToken, InvalidToken};

use crate::clock::Clock;
use std::sync::Arc;

/// Mints and verifies access tokens. Shared behind an `Arc`.
pub struct AccessTokens {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) lives: Arc<GrantLives>,
    pub(crate) clock: Clock,
}
