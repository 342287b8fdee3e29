//! MCP servers that are programs of this machine: started, watched and stopped by us, speaking over their standard input and
//! output (MCP, stdio transport). Only the configuration names them, never a request.

mod channel;

pub use channel::{Channel, Ended, Ending};

use crate::connect::ConnectionKey;
use crate::error::Fault;
use crate::secret::Secret;
use crate::upstream::Upstream;
use std::sync::Arc;

/// All processes of all programs. `M` is what the user of this module puts on the channel of each: one value a process, shared
/// by everybody who uses that process.
pub struct Processes<M> {
    settings: crate::config::Stdio,
    made: std::marker::PhantomData<M>,
}

/// Somebody uses a process: as long as this is kept, the process is not ended for being idle. Keep it as long as a request is
/// under way or somebody listens, and for the life of a session whose state the program keeps.
pub struct Attached<M> {
    /// What was made of its channel.
    pub shared: Arc<M>,
    /// Which process: no two lives have the same number.
    pub number: u64,
}

impl<M> Processes<M> {
    /// None runs yet.
    pub fn new(settings: crate::config::Stdio) -> Self {
        Self { settings, made: std::marker::PhantomData }
    }

    /// Attaches to the process of a person, or to the one of everybody, as the upstream's `processes` says; starts it if need
    /// be, with `secrets` in its environment besides those of the configuration. A process whose secrets or configuration are
    /// others by now is ended, and another one takes its place. `make` is called once for each life of a process, with its
    /// channel, before anybody else gets hold of what it makes.
    ///
    /// # Errors
    /// When the upstream is no program, when it cannot be started, when it ended too often of late (with the time), or when
    /// too many run.
    pub async fn attach(
        &self,
        _upstream: &Upstream,
        _whose: &ConnectionKey,
        _secrets: Vec<(String, Secret)>,
        _make: impl FnOnce(Channel) -> M,
    ) -> Result<Attached<M>, Refused> {
        let _ = &self.settings;
        Err(Refused { fault: Fault::gateway("not written yet"), retry_after: None })
    }

    /// Ends every process in good order, and starts no more.
    pub async fn stop(&self) {}
}

/// Why there is no process.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What happened.
    pub fault: Fault,
    /// When to try again, where that is known.
    pub retry_after: Option<std::time::Duration>,
}
