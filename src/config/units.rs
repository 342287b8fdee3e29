//! Durations, sizes and rates as people write them.

use super::Rate;
use std::time::Duration;

/// `90s`, `5m`, `24h`, `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is not a duration: write a whole number and s, m, h or d, like \"90s\" or \"24h\"");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // A hundred years and more would overflow what is computed with it.
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds < 100 * 365 * 86_400).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

/// As [`duration`], and not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|d| if d.is_zero() { Err("must be longer than nothing, like \"30s\"".to_owned()) } else { Ok(d) })
}

/// As [`duration`]; none for `off` and for nothing.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" || text == "0" {
        return Ok(None);
    }
    let wrong = || format!("{text:?} is not a duration: write one like \"15s\" or \"24h\", or \"off\"");
    duration(text).map_err(|_| wrong()).map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
}

/// `512 KiB`, `32 MiB`, `1 GiB`, in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write a whole number and KiB, MiB or GiB, like \"32 MiB\"");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// `100/s burst 200`; also `/m` and `/h`; without a burst it is the rate itself.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let wrong =
        || format!("{text:?} is not a rate: write it like \"100/s burst 200\" (also /m and /h, none of them 0)");
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
        None => (text.trim(), None),
    };
    let (count, unit) = rate.split_once('/').ok_or_else(wrong)?;
    let positive = |text: &str| digits(text.trim()).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let count = positive(count).ok_or_else(wrong)?;
    let period = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let burst = burst.map_or(Some(count), positive).ok_or_else(wrong)?;
    Ok(Rate { count, period: Duration::from_secs(period), burst })
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((digits(&text[..end])?, text[end..].trim_start()))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000), ("0s", 0), ("5 m", 300)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "-5m", "+5m", "1h30m", "1.5h", "5 weeks", "99999999999999999999s", "40000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0m").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("32 MiB"), Ok(32 << 20));
        assert_eq!(size("512KiB"), Ok(512 << 10));
        for text in ["", "32", "32 MB", "0 KiB", "99999999999999 GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        let rate_of = |count, seconds, burst| Ok(Rate { count, period: Duration::from_secs(seconds), burst });
        assert_eq!(rate("100/s burst 200"), rate_of(100, 1, 200));
        assert_eq!(rate("30/m"), rate_of(30, 60, 30));
        assert_eq!(rate(" 5 / h burst 1 "), rate_of(5, 3600, 1));
        for text in ["", "100", "0/s", "1/s burst 0", "1/d", "1/s bursts 2", "-1/s", "1/s burst", "5000000000/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
