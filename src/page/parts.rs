//! Values that write their own markup, for `{{ }}` in any template.

use crate::clock::Timestamp;
use askama::filters::HtmlSafe;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Nearer moments are now.
const NOW: Duration = Duration::from_secs(60);

/// A moment as people say it, with the exact time for those who want it: `{{ row.since }}` becomes
/// `<time datetime="2026-11-21T20:14:05Z" title="2026-11-21 20:14:05 UTC">3 hours ago</time>`.
/// A script puts the reader's own time zone into the title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    at: Timestamp,
    now: Timestamp,
}

impl Moment {
    /// `at`, as it is told at `now`.
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// The words alone, for text that is not markup: `just now`, `3 hours ago`, `in 5 minutes`.
    pub fn words(self) -> String {
        let (past, future) = (self.now.since(self.at), self.at.since(self.now));
        if future >= NOW {
            format!("in {}", span(future))
        } else if future > Duration::ZERO {
            "in a moment".to_owned()
        } else if past < NOW {
            "just now".to_owned()
        } else {
            format!("{} ago", span(past))
        }
    }
}

impl Display for Moment {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let exact = self.at.to_rfc3339();
        let title = exact.replace('T', " ").replace('Z', " UTC");
        write!(out, "<time datetime=\"{exact}\" title=\"{title}\">{}</time>", self.words())
    }
}

/// Digits and words of ours only.
impl HtmlSafe for Moment {}

/// A length of time in its largest unit, rounded up: `45 seconds`, `3 hours`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (count, unit) = match seconds {
        0..120 => (seconds.max(1), "second"),
        120..7_200 => (seconds.div_ceil(60), "minute"),
        7_200..172_800 => (seconds.div_ceil(3_600), "hour"),
        _ => (seconds.div_ceil(86_400), "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_words() {
        for (seconds, text) in [
            (0, "1 second"),
            (45, "45 seconds"),
            (120, "2 minutes"),
            (3_601, "61 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn moments_before_and_after_now() {
        let told = |at: i64| Moment::new(Timestamp(at), Timestamp(100_000)).words();
        assert_eq!(told(100_000), "just now");
        assert_eq!(told(99_941), "just now");
        assert_eq!(told(99_940), "60 seconds ago");
        assert_eq!(told(100_030), "in a moment");
        assert_eq!(told(100_600), "in 10 minutes");
        let html = Moment::new(Timestamp(0), Timestamp(7_200)).to_string();
        assert_eq!(
            html,
            "<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01 00:00:00 UTC\">2 hours ago</time>"
        );
    }
}
