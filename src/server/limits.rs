//! What the operating system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More open files than this are not asked for: the kernel's table for them is allocated as it grows.
const MOST_DESCRIPTORS: u64 = 1 << 20;
/// Open files that are not connections: database, logs, listeners, resolver.
const SPARE_DESCRIPTORS: u64 = 128;

/// Every connection takes a descriptor, and often one more toward its upstream. The soft limit is low for programs that use
/// `select`, which this is not: the hard one is meant.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let maximum = Some(limit.maximum.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS));
    if limit.current < maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// How many connections the limit of open files allows when each may need a second descriptor, with some left over for
/// files and the database.
pub(super) fn most_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
    usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(16)
}
