//! The steps of what must survive a crash, between which a process may die or be paused. Outside this crate's own tests they are
//! nothing: no feature, no environment variable, no code.

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
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
    /// All statements of a group of transactions have run, and it is not committed.
    Committing,
    /// The group is on the disk, and nobody has heard of it.
    Committed,
}

#[cfg(test)]
pub(crate) type Hook = Box<dyn Fn(Step) -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

/// Where somebody may look at each step. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Checkpoints {
    #[cfg(test)]
    hook: std::sync::Arc<parking_lot::Mutex<Option<Hook>>>,
}

impl Checkpoints {
    #[cfg(not(test))]
    #[inline(always)]
    pub(crate) async fn reached(&self, _: Step) {}

    #[cfg(test)]
    pub(crate) async fn reached(&self, step: Step) {
        let reached = self.hook.lock().as_ref().map(|hook| hook(step));
        if let Some(reached) = reached {
            reached.await;
        }
    }

    /// From now on, until the next one.
    #[cfg(test)]
    pub(crate) fn at_each_step(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }
}
