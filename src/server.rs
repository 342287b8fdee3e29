//! Listening, reloading, draining.

use crate::app::App;
use crate::config::Config;
use crate::error::Fault;
use crate::hostname::Site;
use std::net::SocketAddr;
use std::sync::Arc;

/// Sockets that are bound already, so that the port is known before anything is built.
pub struct Bound {}

impl Bound {
    /// Binds every address.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        let _ = addresses;
        todo!()
    }

    /// The addresses in use.
    pub fn addresses(&self) -> &[SocketAddr] {
        todo!()
    }
}

/// A listening gateway.
pub struct Running {}

impl Running {
    /// Starts to serve.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start(app: Arc<App>, bound: Bound) -> Result<Self, Fault> {
        let _ = (app, bound);
        todo!()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Its names.
    pub fn site(&self) -> &Site {
        todo!()
    }

    /// Drains and ends it.
    pub async fn stop(self) {
        todo!()
    }
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When a part cannot be built or an address cannot be listened on.
pub async fn serve(config: Config) -> Result<(), Fault> {
    let _ = config;
    todo!()
}
