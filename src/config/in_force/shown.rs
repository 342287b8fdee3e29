//! Values as they would be written in the file, without quotes.

use crate::config::{Allowed, Rate};
use crate::secret::Secret;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is none.
    Unset,
    /// There is one, which nobody gets to see.
    Secret,
    /// This one.
    Text(String),
}

impl Shown {
    /// This text, which is no secret.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Several, which are no secrets.
    pub(super) fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        Self::Text(items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", "))
    }
}

/// A type of values that says how one is shown. There is no blanket implementation: whoever brings another type decides.
pub(super) trait Show {
    fn show(&self) -> Shown;
}

impl Show for Secret {
    fn show(&self) -> Shown {
        Shown::Secret
    }
}

macro_rules! displayed {
    ($($type:ty),+) => {
        $(impl Show for $type {
            fn show(&self) -> Shown {
                Shown::text(self.to_string())
            }
        })+
    };
}

displayed!(str, String, bool, u32, f64, SocketAddr, ipnet::IpNet, url::Url, http::HeaderName);

impl Show for &str {
    fn show(&self) -> Shown {
        Shown::text(*self)
    }
}

impl Show for PathBuf {
    fn show(&self) -> Shown {
        Shown::text(self.display().to_string())
    }
}

/// Seconds, minutes, hours or days, whatever is whole and more than one.
impl Show for Duration {
    fn show(&self) -> Shown {
        let seconds = self.as_secs();
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        let unit = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit) && seconds / unit > 1);
        let (unit, name) = unit.unwrap_or((1, "s"));
        Shown::text(format!("{}{name}", seconds / unit))
    }
}

/// A size in bytes.
impl Show for u64 {
    fn show(&self) -> Shown {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| *self > 0 && self.trailing_zeros() >= *shift) {
            Some((shift, name)) => Shown::text(format!("{} {name}", self >> shift)),
            None => Shown::text(format!("{self} bytes")),
        }
    }
}

impl Show for Rate {
    fn show(&self) -> Shown {
        let Rate { count, period, burst } = self;
        let unit = match period.as_secs() {
            60 => "m",
            3600 => "h",
            _ => "s",
        };
        Shown::text(format!("{count}/{unit} burst {burst}"))
    }
}

impl Show for Allowed {
    fn show(&self) -> Shown {
        match self {
            Allowed::Everybody => Shown::text("*"),
            Allowed::These(list) => list.show(),
        }
    }
}

impl<T: fmt::Display + Show> Show for Vec<T> {
    fn show(&self) -> Shown {
        Shown::list(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_in_the_reference() {
        let seconds = |seconds| Duration::from_secs(seconds).show();
        for (value, text) in [
            (seconds(0), "0s"),
            (seconds(60), "60s"),
            (seconds(75), "75s"),
            (seconds(300), "5m"),
            (seconds(86_400), "24h"),
            (seconds(604_800), "7d"),
            ((32_u64 << 20).show(), "32 MiB"),
            ((1_u64 << 30).show(), "1 GiB"),
            (1000_u64.show(), "1000 bytes"),
            (Rate { count: 30, period: Duration::from_secs(60), burst: 60 }.show(), "30/m burst 60"),
            (vec!["a".to_owned(), "b".to_owned()].show(), "a, b"),
        ] {
            assert_eq!(value, Shown::text(text));
        }
    }
}
