//! How much memory the kept bodies of all requests together may take.

use prometheus_client::metrics::gauge::Gauge;

/// The memory for kept bodies, in bytes.
pub(super) struct Budget {
    limit: i64,
    /// What is taken. It is the metric, so that counting costs nothing more.
    used: Gauge,
}

impl Budget {
    pub(super) fn new(limit: u64, used: Gauge) -> Self {
        Self { limit: i64::try_from(limit).unwrap_or(i64::MAX), used }
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share<'_> {
        Share { budget: self, bytes: 0 }
    }
}

/// What one body takes; given back when it is dropped.
pub(super) struct Share<'b> {
    budget: &'b Budget,
    bytes: i64,
}

impl Share<'_> {
    /// Takes so many bytes more; `false`, and nothing taken, when there are not so many left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Ok(bytes) = i64::try_from(bytes) else { return false };
        if self.budget.used.inc_by(bytes) > self.budget.limit.saturating_sub(bytes) {
            self.budget.used.dec_by(bytes);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.used.dec_by(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_more_than_there_is() {
        let budget = Budget::new(1000, Gauge::default());
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow(600) && second.grow(300) && first.grow(100));
        assert!(!second.grow(1) && !second.grow(usize::MAX));
        assert_eq!(budget.used.get(), 1000);
        drop(first);
        assert_eq!(budget.used.get(), 300);
        assert!(second.grow(700));
        drop(second);
        assert_eq!(budget.used.get(), 0);
    }
}
