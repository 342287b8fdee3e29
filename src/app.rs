//! Assembly: every part is built once, here.

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::identity::Identity;
use crate::ids::Random;
use std::net::SocketAddr;
use std::sync::Arc;

/// The gateway, built and not yet listening.
pub struct App {
    /// People and passwords.
    pub identity: Arc<Identity>,
}

impl App {
    /// Builds every part.
    ///
    /// # Errors
    /// When one cannot be built.
    pub async fn build(config: Config, addresses: &[SocketAddr], clock: Clock, random: Random) -> Result<Self, Fault> {
        let _ = (config, addresses, clock, random);
        todo!()
    }
}
