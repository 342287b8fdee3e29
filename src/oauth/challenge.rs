//! `WWW-Authenticate: Bearer …` (RFC 6750 §3, RFC 9728 §5.1): written for our callers, read from upstreams. `DPoP …` (RFC 9449
//! §7.1) is the same under another name.

use crate::jose;
use std::fmt;

/// What a `Bearer` challenge says. [`fmt::Display`] gives the value of the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BearerChallenge {
    /// Where the protected resource's metadata is (RFC 9728 §5.1).
    pub resource_metadata: Option<String>,
    /// The scopes that are needed, space-separated.
    pub scope: Option<String>,
    /// The error code; none when the request had no token at all (RFC 6750 §3.1).
    pub error: Option<String>,
    /// A sentence for the developer of the client.
    pub error_description: Option<String>,
}

impl BearerChallenge {
    /// Finds the first `Bearer` challenge in the value of a `WWW-Authenticate` header, among other schemes and in spite
    /// of missing commas, stray ones and an unclosed quote. Runs in linear time and copies no more than it keeps.
    pub fn parse(header: &str) -> Option<Self> {
        let mut scanner = Scanner { rest: header };
        let mut found: Option<Self> = None;
        while let Some(token) = scanner.token() {
            match (scanner.value(), &mut found) {
                (Some(value), Some(challenge)) => challenge.set(token, value),
                (Some(_), None) => {}
                (None, Some(_)) => break,
                (None, none) if token.eq_ignore_ascii_case("bearer") => *none = Some(Self::default()),
                (None, None) => {}
            }
        }
        found
    }

    /// The same for a client whose tokens are bound to its key: the value of the header.
    pub fn for_dpop(&self) -> String {
        let mut text = String::new();
        // A text takes everything.
        let _ = self.write(&mut text, "DPoP", &[("algs", &jose::ALGORITHMS.join(" "))]);
        text
    }

    fn write(&self, to: &mut impl fmt::Write, scheme: &str, first: &[(&str, &str)]) -> fmt::Result {
        to.write_str(scheme)?;
        let parameters = [
            ("resource_metadata", &self.resource_metadata),
            ("scope", &self.scope),
            ("error", &self.error),
            ("error_description", &self.error_description),
        ];
        let present = parameters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        for (position, (name, value)) in first.iter().copied().chain(present).enumerate() {
            write!(to, "{} {name}=\"", if position == 0 { "" } else { "," })?;
            // RFC 6750 §3 allows neither quotes and backslashes nor anything beyond printable ASCII in these values.
            for c in value.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')) {
                to.write_char(c)?;
            }
            to.write_str("\"")?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value<'_>) {
        let slot = match name.to_ascii_lowercase().as_str() {
            "resource_metadata" => &mut self.resource_metadata,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            _ => return,
        };
        if slot.is_none() {
            *slot = Some(value.into_text());
        }
    }
}

impl fmt::Display for BearerChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "Bearer", &[])
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

enum Value<'a> {
    Plain(&'a str),
    /// What stood between the quotes, escapes still in.
    Quoted(&'a str),
}

impl Value<'_> {
    fn into_text(self) -> String {
        match self {
            Value::Plain(text) => text.to_owned(),
            Value::Quoted(text) => {
                let mut escaped = false;
                text.chars()
                    .filter(|c| {
                        escaped = *c == '\\' && !escaped;
                        !escaped
                    })
                    .collect()
            }
        }
    }
}

impl<'a> Scanner<'a> {
    /// The next token (RFC 9110 §5.6.2), after skipping whatever is none.
    fn token(&mut self) -> Option<&'a str> {
        let start = self.rest.find(is_token_char)?;
        let rest = &self.rest[start..];
        let (token, rest) = rest.split_at(rest.find(|c| !is_token_char(c)).unwrap_or(rest.len()));
        self.rest = rest;
        Some(token)
    }

    /// The value, when `=` follows.
    fn value(&mut self) -> Option<Value<'a>> {
        let rest = self.rest.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
        let Some(quoted) = rest.strip_prefix('"') else {
            let (plain, rest) = rest.split_at(rest.find([',', ' ', '\t']).unwrap_or(rest.len()));
            self.rest = rest;
            return Some(Value::Plain(plain));
        };
        let end = closing_quote(quoted);
        self.rest = quoted.get(end + 1..).unwrap_or_default();
        Some(Value::Quoted(&quoted[..end]))
    }
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (position, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position,
            _ => {}
        }
    }
    text.len()
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope_of(header: &str) -> Option<String> {
        BearerChallenge::parse(header).and_then(|challenge| challenge.scope)
    }

    #[test]
    fn written_as_clients_expect_it() {
        let challenge = BearerChallenge {
            resource_metadata: Some("https://a.example/.well-known/oauth-protected-resource/mcp".into()),
            scope: Some("read write".into()),
            ..Default::default()
        };
        let header = r#"Bearer resource_metadata="https://a.example/.well-known/oauth-protected-resource/mcp", scope="read write""#;
        assert_eq!(challenge.to_string(), header);
        assert_eq!(BearerChallenge::default().to_string(), "Bearer");
        let hostile = BearerChallenge { error: Some("a\"b\\c\r\nd".into()), ..Default::default() };
        assert_eq!(hostile.to_string(), r#"Bearer error="abcd""#);
        assert_eq!(hostile.for_dpop(), r#"DPoP algs="ES256 ES384 EdDSA RS256 PS256", error="abcd""#);
    }

    #[test]
    fn read_in_every_shape_seen_in_the_wild() {
        for (header, scope) in [
            (r#"Bearer scope="a b""#, Some("a b")),
            (r#"bearer realm="x",scope="a""#, Some("a")),
            (r#"Bearer realm="x" scope="a""#, Some("a")),
            (r#"Basic realm="bearer, scope=no", Bearer scope="a""#, Some("a")),
            (r#"Negotiate abc==, Bearer scope="a""#, Some("a")),
            (r#"Bearer scope="a", Basic scope="b""#, Some("a")),
            (r#"Bearer , ,scope = "a""#, Some("a")),
            (r#"Bearer scope=a"#, Some("a")),
            (r#"Bearer scope="a\"b\\c""#, Some(r#"a"b\c"#)),
            (r#"Bearer scope="unclosed"#, Some("unclosed")),
            (r#"Bearer SCOPE="a", scope="b""#, Some("a")),
            ("Bearer", None),
            (r#"Basic scope="a""#, None),
            ("", None),
        ] {
            assert_eq!(scope_of(header).as_deref(), scope, "{header}");
        }
        assert_eq!(BearerChallenge::parse("Bearer"), Some(BearerChallenge::default()));
        assert_eq!(BearerChallenge::parse("Basic realm=x"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(header in ".{0,200}") {
            let _ = BearerChallenge::parse(&header);
        }

        #[test]
        fn what_is_written_is_read(
            resource_metadata in proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
            scope in proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
            error in proptest::option::of("[a-z_]{1,20}"),
            error_description in proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
        ) {
            let challenge = BearerChallenge { resource_metadata, scope, error, error_description };
            prop_assert_eq!(BearerChallenge::parse(&challenge.to_string()), Some(challenge));
        }
    }
}
