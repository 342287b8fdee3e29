//! What a service manager says to us and wants to hear: systemd, and whoever speaks like it. Nothing of it has an effect where
//! nobody set its variables.

mod activation;
mod notify;
mod watchdog;

pub(super) use activation::sockets;
pub(super) use notify::Manager;
pub(super) use watchdog::attest;

/// Variables that are meant for one process and must not reach the one that takes over: sockets come to it another way, and
/// the watchdog is about whichever process is the main one.
pub(super) const OF_ONE_PROCESS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];
