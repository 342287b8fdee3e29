//! Cross-site request forgery: upstream hosts are siblings of the root domain, so `SameSite` does not protect it
//! (decision 4). An unsafe request needs our own `Origin`, `Sec-Fetch-Site: same-origin` where the browser sends it, and the
//! form's token.

use crate::hostname::Site;
use http::header::ORIGIN;
use subtle::ConstantTimeEq;

/// The request did not come from a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this form was not sent from a page of this gateway, or is too old: go back, reload the page and try again")]
pub struct Forged;

/// Checks `Origin` and `Sec-Fetch-Site`, then compares the form's token with the expected one in constant time. A request
/// without either header (no browser of today) is judged by the token alone.
///
/// # Errors
/// [`Forged`].
pub fn check(site: &Site, headers: &http::HeaderMap, expected: &str, sent: Option<&str>) -> Result<(), Forged> {
    // `Origin: null` is what a sandboxed upstream page sends, and is no origin of ours.
    let ours = site.root_origin();
    let from_us = headers.get_all(ORIGIN).iter().all(|origin| origin == ours.as_str())
        && headers.get_all("sec-fetch-site").iter().all(|relation| relation == "same-origin");
    let token_fits = sent.is_some_and(|sent| sent.as_bytes().ct_eq(expected.as_bytes()).into());
    if from_us && token_fits { Ok(()) } else { Err(Forged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Scheme;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn check_with(headers: &[(&'static str, &'static str)], sent: Option<&str>) -> Result<(), Forged> {
        let site = Site::new("gw.example", Scheme::Https, 8443);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check(&site, &map, "expected", sent)
    }

    const OURS: (&str, &str) = ("origin", "https://gw.example:8443");
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

    #[test]
    fn our_own_forms_pass() {
        assert_eq!(check_with(&[OURS, SAME], Some("expected")), Ok(()));
        assert_eq!(check_with(&[OURS], Some("expected")), Ok(()));
        assert_eq!(check_with(&[SAME], Some("expected")), Ok(()));
        assert_eq!(check_with(&[], Some("expected")), Ok(()));
    }

    #[test]
    fn the_token_is_always_needed() {
        for sent in [None, Some(""), Some("expecte"), Some("expected "), Some("EXPECTED")] {
            assert_eq!(check_with(&[OURS, SAME], sent), Err(Forged), "{sent:?}");
            assert_eq!(check_with(&[], sent), Err(Forged), "{sent:?}");
        }
    }

    #[test]
    fn other_origins_are_refused_whatever_token_they_have() {
        for origin in [
            "null",
            "",
            "https://gw.example",
            "http://gw.example:8443",
            "https://gw.example:8443/",
            "https://GW.example:8443",
            "https://notes.gw.example:8443",
            "https://gw.example:8443.evil.example",
        ] {
            assert_eq!(check_with(&[("origin", origin), SAME], Some("expected")), Err(Forged), "{origin}");
        }
        assert_eq!(check_with(&[OURS, ("origin", "https://evil.example")], Some("expected")), Err(Forged));
    }

    #[test]
    fn requests_that_the_browser_calls_foreign_are_refused() {
        for relation in ["same-site", "cross-site", "none", "", "Same-Origin"] {
            assert_eq!(check_with(&[OURS, ("sec-fetch-site", relation)], Some("expected")), Err(Forged), "{relation}");
        }
        assert_eq!(check_with(&[OURS, SAME, ("sec-fetch-site", "cross-site")], Some("expected")), Err(Forged));
    }
}
