//! Numbers as people read them.

/// Something counted: `950`, `12,500`, `9.8M`.
pub(super) fn count(value: u64) -> String {
    match value {
        0..1000 => value.to_string(),
        1000..1_000_000 => format!("{},{:03}", value / 1000, value % 1000),
        _ => {
            let (size, unit) = if value < 1_000_000_000 { (1_000_000, "M") } else { (1_000_000_000, "G") };
            format!("{}{unit}", tenths(value, size))
        }
    }
}

/// A length of time: `0 ms`, `350 ms`, `1.5 s`, `2 min`.
pub(super) fn milliseconds(value: u64) -> String {
    match value {
        0..1000 => format!("{value} ms"),
        1000..60_000 => format!("{} s", tenths(value, 1000)),
        _ => format!("{} min", tenths(value, 60_000)),
    }
}

/// So many things, with their name: `1 request`, `2 requests`.
pub(super) fn things(value: u64, name: &str) -> String {
    format!("{} {name}{}", count(value), if value == 1 { "" } else { "s" })
}

/// Not longer than a line of a list may be.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `value / size` to a tenth, which is left out when it is 0.
fn tenths(value: u64, size: u64) -> String {
    let (whole, tenth) = (value / size, value % size / (size / 10));
    if tenth == 0 { whole.to_string() } else { format!("{whole}.{tenth}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0, 999, 1000, 12_500, 999_999, 1_000_000, 9_870_000, 2_500_000_000].map(count);
        assert_eq!(counts.join(" "), "0 999 1,000 12,500 999,999 1M 9.8M 2.5G");
        let times = [0, 350, 1000, 1550, 59_999, 60_000, 90_000].map(milliseconds);
        assert_eq!(times.join(", "), "0 ms, 350 ms, 1 s, 1.5 s, 59.9 s, 1 min, 1.5 min");
        assert_eq!(things(1, "request") + &things(2, "request"), "1 request2 requests");
        assert_eq!((cut("é").as_str(), cut(&"é".repeat(121)).chars().count()), ("é", 121));
    }
}
