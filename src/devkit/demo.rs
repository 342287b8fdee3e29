//! `portcullis demo`

use crate::error::Fault;

/// Runs the gateway with demo servers behind it.
///
/// # Errors
/// When a port is taken.
pub async fn run(port: u16) -> Result<(), Fault> {
    let _ = port;
    todo!()
}
