//! Time as an argument. Production code never asks the operating system for the time except through a [`Clock`],
//! so that tests can move it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far a system's clock may be ahead for a while: what marks that something was used up or has ended is kept so much longer than
/// it is needed, because it is swept by that clock, and when that is right again what was ended must not come back to life.
pub const CLOCK_JUMP: Duration = Duration::from_secs(2 * 3600);

/// A point in time, in whole seconds since the Unix epoch: the resolution of JWT `NumericDate` (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds since the Unix epoch.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// This moment plus `by`, fractions of a second cut off; saturates instead of overflowing.
    pub fn after(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)))
    }

    /// This moment minus `by`, saturating.
    pub fn before(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, to the second.
    pub fn to_rfc3339(self) -> String {
        let (days, seconds) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        // Howard Hinnant's civil_from_days: years begin in March, so that the leap day is the last.
        let days = days.saturating_add(EPOCH);
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// Reads a time of RFC 3339 (§5.6); fractions of a second are cut off.
    pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
        let (date, time) = text.split_once(['T', 't'])?;
        let (time, offset) = match time.strip_suffix(['Z', 'z']) {
            Some(time) => (time, 0),
            None => {
                let at = time.rfind(['+', '-'])?;
                let [hours, minutes] = numbers(time.get(at + 1..)?, ':', [2, 2])?;
                let offset = hours * 3600 + minutes * 60;
                (time.get(..at)?, if time.as_bytes().get(at) == Some(&b'-') { -offset } else { offset })
            }
        };
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
        // 60 is a leap second, which Unix time does not count.
        if !digits || hour > 23 || minute > 59 || second > 60 || offset.abs() >= DAY {
            return None;
        }
        // The inverse of the above.
        let shifted_year = year - i64::from(month <= 2);
        let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
        let shifted = if month > 2 { month - 3 } else { month + 9 };
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + (153 * shifted + 2) / 5 + day - 1;
        let midnight = (era * ERA + day_of_era - EPOCH) * DAY;
        // A day that the month has not got would come out as another.
        let exists = Timestamp(midnight).to_rfc3339().get(..10) == Some(date);
        exists.then_some(Timestamp(midnight + hour * 3600 + minute * 60 + second - offset))
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days of 400 years.
const ERA: i64 = 146_097;
/// Days from March of the year 0 to the Unix epoch.
const EPOCH: i64 = 719_468;

/// Numbers of exactly so many digits.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Where the current time comes from. Cloning shares the clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Seconds added to the system's time; only tests change it.
    shift: Arc<AtomicI64>,
    /// Where it stands still, since the Unix epoch.
    stands_at: Option<Duration>,
}

/// The one place that asks.
#[allow(clippy::disallowed_methods)]
fn system_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock for tests that compare times: it goes on only when it is moved. All of a process stand at one moment, when the first
    /// was made.
    pub fn standing() -> Self {
        static BEGUN: LazyLock<Duration> = LazyLock::new(system_time);
        Self { stands_at: Some(*BEGUN), ..Self::default() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let unmoved = self.unmoved().as_secs();
        Timestamp(i64::try_from(unmoved).unwrap_or(i64::MAX).saturating_add(self.shift.load(Ordering::Relaxed)))
    }

    /// Now, in nanoseconds since the Unix epoch: for telemetry, which tells what follows what.
    pub fn unix_nanos(&self) -> u64 {
        let shift = u64::try_from(self.shift.load(Ordering::Relaxed)).unwrap_or(0);
        let moved = self.unmoved() + Duration::from_secs(shift);
        u64::try_from(moved.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Now, as if it had never been moved.
    fn unmoved(&self) -> Duration {
        self.stands_at.unwrap_or_else(system_time)
    }

    /// Moves this clock, and every clone of it, back.
    pub fn set_back(&self, by: Duration) {
        self.shift.fetch_sub(i64::try_from(by.as_secs()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Moves this clock, and every clone of it, forward.
    pub fn advance(&self, by: Duration) {
        self.shift.fetch_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_moves_with_its_clock() {
        let clock = Clock::system();
        let before = clock.now();
        clock.clone().advance(Duration::from_secs(3600));
        assert!(clock.now().since(before) >= Duration::from_secs(3600));
    }

    #[test]
    fn dates_are_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(seconds).to_rfc3339(), text);
            assert_eq!(Timestamp::from_rfc3339(text), Some(Timestamp(seconds)), "{text}");
        }
        for (text, seconds) in [
            ("1970-01-01T00:00:01.999Z", 1),
            ("1970-01-01t02:00:00+02:00", 0),
            ("1969-12-31T23:30:00-00:30", 0),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), Some(Timestamp(seconds)), "{text}");
        }
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+0000",
            "1970-01-01T00:00:00+99:00",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-1-01T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-10T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-04-31T00:00:00Z",
            "+970-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::from_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(i64::MAX).after(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
