//! What an upstream wants of every person by hand: a value for a header, or secrets for the environment of a program.

use super::Upstream;
use crate::config::{Command, PersonalHeader, UpstreamAuth};
use http::HeaderValue;
use std::sync::Arc;

/// The longest value of a header, in bytes.
const LONGEST_HEADER: usize = 8 * 1024;
/// The longest secret of an environment, in bytes.
const LONGEST_SECRET: usize = 32 * 1024;

/// What a person gives by hand.
#[derive(Clone)]
pub enum Personal {
    /// The value of a header.
    Header(PersonalHeader),
    /// Secrets of a program's environment.
    Environment(Arc<Command>),
}

impl Upstream {
    /// What every person gives this upstream by hand; `None` where nothing is wanted.
    pub fn personal(&self) -> Option<Personal> {
        match (&*self.auth, self.kind.command()) {
            (UpstreamAuth::Personal(header), _) => Some(Personal::Header(header.clone())),
            (_, Some(command)) if !command.personal_env.is_empty() => Some(Personal::Environment(command.clone())),
            _ => None,
        }
    }
}

impl Personal {
    /// The names of the values: of the header, in lower case, or of the variables.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Header(header) => vec![header.name.as_str()],
            Self::Environment(command) => command.personal_env.iter().map(String::as_str).collect(),
        }
    }

    /// Its own spelling of a name: headers have no letter case, and where one value is wanted it needs no name.
    pub fn name(&self, text: &str) -> Option<&str> {
        let is_header = matches!(self, Self::Header(_));
        if let (true, [only]) = (text.is_empty(), self.names().as_slice()) {
            return Some(only);
        }
        let same = |name: &&str| *name == text || is_header && name.eq_ignore_ascii_case(text);
        self.names().into_iter().find(same)
    }

    /// A value as it can be used: what surrounds an API key by accident is taken off.
    ///
    /// # Errors
    /// When it cannot be used; the text says what can, and never what was given.
    pub fn check<'v>(&self, value: &'v str) -> Result<&'v str, String> {
        match self {
            Self::Header(_) => {
                let value = value.trim_ascii();
                let printable = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
                let good = (1..=LONGEST_HEADER).contains(&value.len()) && printable;
                let good = good && HeaderValue::from_str(value).is_ok();
                good.then_some(value).ok_or_else(|| {
                    format!("the value of a header has 1 to {LONGEST_HEADER} characters of printable ASCII")
                })
            }
            Self::Environment(_) => {
                let good = (1..=LONGEST_SECRET).contains(&value.len()) && !value.contains('\0');
                good.then_some(value).ok_or_else(|| {
                    format!("the value of an environment variable has 1 to {LONGEST_SECRET} bytes, none of them zero")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sharing;

    #[test]
    fn values_are_what_a_header_or_an_environment_can_carry() {
        let command = Command {
            program: "true".into(),
            args: Vec::new(),
            search_path: String::new(),
            env: Vec::new(),
            secrets: Vec::new(),
            personal_env: vec!["TOKEN".to_owned(), "OTHER".to_owned()],
            cwd: None,
            processes: Sharing::Person,
            idle: None,
            memory: None,
        };
        let header = PersonalHeader { name: http::HeaderName::from_static("x-api-key"), prefix: String::new() };
        let (header, environment) = (Personal::Header(header), Personal::Environment(Arc::new(command)));
        assert_eq!(header.check(" key\n"), Ok("key"));
        assert_eq!(header.name("X-API-Key"), Some("x-api-key"));
        assert_eq!(header.name(""), Some("x-api-key"));
        assert_eq!((environment.name("token"), environment.name("")), (None, None));
        assert_eq!(environment.check("two\nlines\u{e9}"), Ok("two\nlines\u{e9}"));
        for (personal, longest, bad) in [
            (&header, LONGEST_HEADER, ["", " ", "a\nb", "caf\u{e9}"]),
            (&environment, LONGEST_SECRET, ["", "\0", "a\0", "\0b"]),
        ] {
            assert!(personal.check(&"k".repeat(longest)).is_ok());
            assert!(personal.check(&"k".repeat(longest + 1)).is_err());
            for value in bad {
                let why = personal.check(value).unwrap_err();
                assert!(value.trim().is_empty() || !why.contains(value), "{why}");
            }
        }
    }
}
