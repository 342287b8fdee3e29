//! Happy Eyeballs (RFC 8305): attempts that overtake each other.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;

/// Starts one attempt after the other, the next one `delay` after the last or as soon as one has failed, until one
/// succeeds; the others are dropped then (RFC 8305 §5).
///
/// # Errors
/// That of the last attempt that failed; `None` when there was none.
pub(super) async fn first<T, E, F>(attempts: impl IntoIterator<Item = F>, delay: Duration) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = attempts.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        running.extend(attempts.next());
        let more = attempts.peek().is_some();
        tokio::select! { biased;
            finished = running.next() => match finished {
                Some(Ok(winner)) => return Ok(winner),
                Some(Err(error)) => failure = Some(error),
                None => return Err(failure),
            },
            () = tokio::time::sleep(delay), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;

    const DELAY: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3600);

    type Attempt = BoxFuture<'static, Result<&'static str, &'static str>>;

    fn hangs() -> Attempt {
        pending().boxed()
    }

    fn ends(with: Result<&'static str, &'static str>) -> Attempt {
        ready(with).boxed()
    }

    #[tokio::test]
    async fn an_attempt_that_hangs_is_overtaken_and_dropped() {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Count(dropped.clone());
        let slow = async move {
            let _count = count;
            pending().await
        };
        let started = Instant::now();
        assert_eq!(first([slow.boxed(), hangs(), ends(Ok("third"))], DELAY).await, Ok("third"));
        assert!(started.elapsed() >= 2 * DELAY);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failure_starts_the_next_attempt_at_once() {
        let attempts = [ends(Err("refused")), ends(Err("unreachable")), ends(Ok("third")), hangs()];
        assert_eq!(first(attempts, NEVER).await, Ok("third"));
        assert_eq!(first([ends(Err("refused")), ends(Err("unreachable"))], NEVER).await, Err(Some("unreachable")));
        assert_eq!(first(Vec::<Attempt>::new(), NEVER).await, Err(None));
    }

    #[tokio::test]
    async fn the_first_attempt_has_a_start_and_the_others_do_not_begin_without_need() {
        let never_polled = async { panic!("was started") }.boxed();
        assert_eq!(first([ends(Ok("first")), never_polled], DELAY).await, Ok("first"));
        let late = async {
            tokio::time::sleep(2 * DELAY).await;
            Ok("first")
        };
        assert_eq!(first([late.boxed(), hangs()], DELAY).await, Ok("first"));
    }
}
