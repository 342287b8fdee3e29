//! How long an answer may be used again (RFC 9111 §4.2), for the documents that we keep copies of.

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};
use std::time::Duration;

/// The shortest life of a copy, whatever its server says: nobody can make us ask more often than this.
pub const SHORTEST: Duration = Duration::from_secs(5 * 60);
/// The longest, so that what its owner withdrew is not believed for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// What holds without caching headers.
const USUAL: Duration = Duration::from_secs(3600);

/// How long an answer with these headers is fresh, between [`SHORTEST`] and a day.
pub fn lifetime(headers: &HeaderMap) -> Duration {
    let control = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> =
        control.flat_map(|value| value.split(',')).map(|text| text.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|directive| directive == "no-store" || directive == "no-cache") {
        return SHORTEST;
    }
    let max_age =
        directives.iter().find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    let fresh = max_age.map_or(USUAL, |seconds: u64| Duration::from_secs(seconds.saturating_sub(age)));
    fresh.clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caching_headers_are_believed_within_bounds() {
        let with = |control: &'static str, age: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, control.parse().unwrap());
            headers.insert(AGE, age.parse().unwrap());
            lifetime(&headers).as_secs()
        };
        assert_eq!(with("public, max-age=7200", "200"), 7000);
        assert_eq!(with("max-age=1", "0"), 300);
        assert_eq!(with("max-age=99999999", "0"), 24 * 3600);
        assert_eq!(with("no-store", "0"), 300);
        assert_eq!(with("max-age=x", "y"), 3600);
        assert_eq!(lifetime(&HeaderMap::new()), USUAL);
    }
}
