//! Request parameters (RFC 6749 §3.1, §3.2): no parameter twice, one without a value counts as absent, unknown ones are
//! ignored.

use crate::oauth::error::{Code, OauthError};

/// The parameters of a query or of a form.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    repeated: Vec<String>,
}

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`. A `resource` repeated to the letter is tolerated: a client in the
    /// field sends it twice.
    pub(super) fn parse(encoded: &[u8]) -> Self {
        let (mut pairs, mut repeated) = (Vec::<(String, String)>::new(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(encoded) {
            match pairs.iter().find(|(known, _)| *known == name) {
                Some((_, known)) if name == "resource" && *known == value => {}
                Some(_) => repeated.push(name.into_owned()),
                None => pairs.push((name.into_owned(), value.into_owned())),
            }
        }
        Self { pairs, repeated }
    }

    /// The value of a parameter, if it has one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub(super) fn require(&self, name: &'static str) -> Result<&str, OauthError> {
        self.get(name).ok_or_else(|| OauthError::new(Code::InvalidRequest, format!("the parameter {name} is missing")))
    }

    /// Whether a parameter was sent more than once.
    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.repeated.iter().any(|repeated| repeated == name)
    }

    /// Refuses a request in which any parameter was sent more than once.
    pub(super) fn refuse_repetition(&self) -> Result<(), OauthError> {
        match self.repeated.as_slice() {
            [] => Ok(()),
            _ => Err(OauthError::new(Code::InvalidRequest, "a parameter was sent more than once")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b17_b18_repetition_is_noticed_and_the_unknown_ignored() {
        let parameters = Parameters::parse(b"a=1&b=&c=x%20y&unknown=z");
        assert_eq!((parameters.get("a"), parameters.get("b"), parameters.get("c")), (Some("1"), None, Some("x y")));
        assert!(parameters.refuse_repetition().is_ok());
        let twice = Parameters::parse(b"state=1&state=1");
        assert!(twice.is_repeated("state") && twice.refuse_repetition().is_err());
        assert!(Parameters::parse(b"resource=x&resource=x").refuse_repetition().is_ok());
        assert!(Parameters::parse(b"resource=x&resource=y").refuse_repetition().is_err());
    }
}
