//! How long requests took, in few buckets: percentiles to within a bucket, from numbers that add up.

use crate::store::LATENCIES;
use std::time::Duration;

/// Upper bounds in milliseconds, after which the columns of the table are called; the last bucket takes the rest.
const BOUNDS: [u32; LATENCIES - 1] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15_000, 60_000];

/// The bucket of a request that took so long.
pub(super) fn bucket(took: Duration) -> usize {
    BOUNDS.partition_point(|bound| Duration::from_millis((*bound).into()) < took)
}

/// What so many of a hundred requests did not exceed, in milliseconds: as if those of a bucket were spread evenly over it.
/// `None` without any.
pub(super) fn percentile(latencies: &[u64; LATENCIES], percent: u64) -> Option<u32> {
    let total: u64 = latencies.iter().sum();
    let mut rank = (total * percent).div_ceil(100);
    for (bucket, count) in latencies.iter().enumerate().filter(|_| total > 0) {
        if rank <= *count {
            let below = if bucket == 0 { 0 } else { BOUNDS[bucket - 1] };
            // Nobody knows how far the last bucket goes.
            let width = BOUNDS.get(bucket).map_or(0, |bound| u64::from(bound - below));
            return Some(below + u32::try_from((width * rank).div_ceil((*count).max(1))).unwrap_or(0));
        }
        rank -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_takes_as_long_as_a_bound_is_within_it() {
        for (took, expected) in [(0, 0), (5000, 0), (5001, 1), (10_000, 1), (60_000_000, 11), (60_000_001, 12)] {
            assert_eq!(bucket(Duration::from_micros(took)), expected, "{took}");
        }
    }

    #[test]
    fn percentiles_are_within_their_bucket() {
        let mut latencies = [0; LATENCIES];
        assert_eq!(percentile(&latencies, 50), None);
        latencies[2] = 1;
        assert_eq!([50, 95, 99].map(|percent| percentile(&latencies, percent)), [Some(25); 3]);
        // 90 of up to 50 ms, 9 of up to 1 s, one beyond everything.
        latencies = [0; LATENCIES];
        (latencies[3], latencies[7], latencies[12]) = (90, 9, 1);
        assert_eq!(percentile(&latencies, 50), Some(39));
        assert_eq!(percentile(&latencies, 95), Some(778));
        assert_eq!(percentile(&latencies, 99), Some(1000));
        assert_eq!(percentile(&latencies, 100), Some(60_000));
    }
}
