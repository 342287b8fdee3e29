//! The steps of a refresh between which a process may die or be paused. Outside this crate's own tests they are nothing:
//! no feature, no environment variable, no code.

use super::Connections;

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The tokens were read; nothing is written yet.
    Began,
    /// Somebody else has the lease.
    Waiting,
    /// The intent is durable.
    Intended,
    /// The server has answered.
    Answered,
    /// The answer is in a file, perhaps not on the disk.
    Written,
    /// The answer is on the disk.
    Spooled,
    /// The answer is in the database.
    Swapped,
    /// The file is gone.
    Deleted,
}

#[cfg(test)]
pub(super) type Hook = Box<dyn Fn(Step) -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

impl Connections {
    #[cfg(not(test))]
    #[inline(always)]
    pub(super) async fn checkpoint(&self, _: Step) {}

    #[cfg(test)]
    pub(super) async fn checkpoint(&self, step: Step) {
        let reached = self.hook.lock().as_ref().map(|hook| hook(step));
        if let Some(reached) = reached {
            reached.await;
        }
    }
}
