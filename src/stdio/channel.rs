//! The two ways of one process, as long as it lives.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// What goes to a process and comes from it during one life of it. Every message is one JSON value without a newline around it;
/// what is no JSON never gets here. Both ways are bounded: who does not read holds the process up, and a process that does not
/// read makes [`mpsc::Sender::send`] wait, until it is ended for that.
pub struct Channel {
    /// Messages for the process. When every sender is gone the process is ended in good order.
    pub outgoing: mpsc::Sender<Bytes>,
    /// Messages of the process. Its end is the end of the process's output.
    pub incoming: mpsc::Receiver<Bytes>,
    /// Why the process ended; until then it lives.
    pub ended: Ended,
}

/// Tells when, and why, a process ended.
#[derive(Clone)]
pub struct Ended(pub(super) watch::Receiver<Option<Ending>>);

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// For anybody: `"it exited with status 1"`.
    pub public: String,
    /// For administrators: the same, with the last line of its standard error.
    pub private: String,
}

impl Ending {
    /// `last_line` is what the program said last, if anything.
    pub(super) fn new(public: &str, last_line: &str) -> Self {
        let private = match last_line {
            "" => public.to_owned(),
            last_line => format!("{public}; its last words: {last_line}"),
        };
        Self { public: public.to_owned(), private }
    }
}

impl Ended {
    /// How it ended, if it has.
    pub fn now(&self) -> Option<Ending> {
        self.0.borrow().clone()
    }

    /// Waits for the end.
    pub async fn wait(&mut self) -> Ending {
        let gone = || Ending::new("the gateway stopped", "");
        match self.0.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone().unwrap_or_else(gone),
            Err(_) => gone(),
        }
    }
}
