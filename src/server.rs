//! Listening, reloading, draining.

use crate::config::Config;
use crate::error::Fault;

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When a part cannot be built or an address cannot be listened on.
pub async fn serve(config: Config) -> Result<(), Fault> {
    let _ = config;
    todo!()
}
