//! The schemes of `Authorization` in which access tokens are presented.

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750 §2.1
    Bearer,
    /// RFC 9449 §7.1
    Dpop,
}

impl Scheme {
    /// The scheme of an `Authorization` field and the token that it carries; `None` for other schemes.
    pub fn of(field: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = field.split_once(' ')?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => Self::Bearer,
            _ if scheme.eq_ignore_ascii_case("dpop") => Self::Dpop,
            _ => return None,
        };
        Some((scheme, rest.trim_start_matches(' ')))
    }
}

#[cfg(test)]
mod tests {
    use super::Scheme;

    #[test]
    fn schemes_have_any_case_and_a_token() {
        assert_eq!(Scheme::of("bEARER  abc"), Some((Scheme::Bearer, "abc")));
        assert_eq!(Scheme::of("dpop abc"), Some((Scheme::Dpop, "abc")));
        for other in ["", "Bearer", "Basic abc", "Bearerabc", " Bearer abc"] {
            assert_eq!(Scheme::of(other), None, "{other:?}");
        }
    }
}
