//! Redirect URIs: which may be registered and which match (OAuth 2.1 §2.3, RFC 8252 §7).

use std::fmt;
use url::{Host, Url};

/// The longest redirect URI, in bytes.
const MAX_LENGTH: usize = 2048;

/// Schemes that a browser runs, renders or treats specially instead of handing over to an application.
const REFUSED_SCHEMES: [&str; 12] = [
    "javascript",
    "data",
    "file",
    "vbscript",
    "about",
    "blob",
    "filesystem",
    "view-source",
    "ws",
    "wss",
    "ftp",
    "mailto",
];

/// A redirect URI that may be registered. [`fmt::Display`] gives it exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Https,
    Loopback,
    Custom,
}

/// Why a redirect URI is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// Longer than 2048 bytes.
    #[error("a redirect URI must not be longer than 2048 characters")]
    TooLong,
    /// A character that no URI has (RFC 3986 §2), or `*`.
    #[error("a redirect URI must be ASCII, without spaces, wildcards and characters that RFC 3986 does not allow")]
    Character,
    /// No scheme, or nothing behind it.
    #[error("a redirect URI must be absolute, like https://app.example/callback")]
    NotAbsolute,
    /// `javascript:` and the like.
    #[error("this scheme cannot be used for a redirect URI")]
    Scheme,
    /// `#…` (RFC 6749 §3.1.2).
    #[error("a redirect URI must not have a fragment")]
    Fragment,
    /// `user@`.
    #[error("a redirect URI must not have user information")]
    Userinfo,
    /// Plain http to another machine.
    #[error("http is only allowed for localhost, 127.0.0.1 and [::1]: use https")]
    InsecureHttp,
}

impl RedirectUri {
    /// Checks a redirect URI that a client wants to register.
    ///
    /// # Errors
    /// [`InvalidRedirectUri`].
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidRedirectUri::TooLong);
        }
        if text.contains('#') {
            return Err(InvalidRedirectUri::Fragment);
        }
        if !text.bytes().all(is_uri_byte) {
            return Err(InvalidRedirectUri::Character);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidRedirectUri::NotAbsolute)?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) || rest.is_empty() {
            return Err(InvalidRedirectUri::NotAbsolute);
        }
        if has_userinfo(rest) {
            return Err(InvalidRedirectUri::Userinfo);
        }
        let kind = match scheme.as_str() {
            "https" if is_web_address(text, rest) => Kind::Https,
            "https" => return Err(InvalidRedirectUri::NotAbsolute),
            "http" if Loopback::of(text).is_some() => Kind::Loopback,
            "http" => return Err(InvalidRedirectUri::InsecureHttp),
            refused if REFUSED_SCHEMES.contains(&refused) => return Err(InvalidRedirectUri::Scheme),
            _ => Kind::Custom,
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Whether the URI of an authorization request is this one: the same text; for a loopback URI the port may be any
    /// (RFC 8252 §7.3), because a native application learns its port from the operating system.
    pub fn matches(&self, requested: &str) -> bool {
        if self.text == requested {
            return true;
        }
        self.kind == Kind::Loopback
            && requested.len() <= MAX_LENGTH
            && requested.bytes().all(is_uri_byte)
            && Loopback::of(requested).is_some_and(|other| Some(other) == Loopback::of(&self.text))
    }

    /// Exactly as it was registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the consent page shows: where the person will be sent.
    pub fn host_for_display(&self) -> String {
        match self.kind {
            Kind::Loopback => Loopback::of(&self.text).map(|loopback| loopback.host.to_owned()).unwrap_or_default(),
            Kind::Https => Url::parse(&self.text).map(|url| authority(&url)).unwrap_or_default(),
            Kind::Custom => {
                let (scheme, rest) = self.text.split_once(':').unwrap_or((&self.text, ""));
                match rest.strip_prefix("//").map(|rest| rest.split(['/', '?']).next().unwrap_or_default()) {
                    Some(host) if !host.is_empty() => format!("{scheme}://{host}"),
                    _ => format!("{scheme}:"),
                }
            }
        }
    }

    /// Host and port of an https URI to another machine: what people know a web application by.
    pub fn web_host(&self) -> Option<String> {
        let url = Url::parse(&self.text).ok().filter(|_| self.kind == Kind::Https)?;
        let is_here = match url.host()? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(v4) => v4.is_loopback(),
            Host::Ipv6(v6) => v6.to_canonical().is_loopback(),
        };
        (!is_here).then(|| authority(&url))
    }

    /// What the person should know before sending a code there; nothing for https, where the host says who gets it.
    pub fn needs_warning(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Https => None,
            Kind::Loopback => Some(
                "The answer goes to a program on this computer. Continue only if you have just started that program \
                 yourself.",
            ),
            Kind::Custom => Some(
                "The answer goes to whatever application on this device has claimed this address. Continue only if you \
                 have just started that application yourself.",
            ),
        }
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A loopback URI without its port.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    /// `/` when nothing is written: some clients register one spelling and send the other.
    path_and_query: &'a str,
}

impl<'a> Loopback<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let host = ["localhost", "127.0.0.1", "[::1]"].into_iter().find(|host| rest.starts_with(host))?;
        let rest = &rest[host.len()..];
        let path_and_query = match rest.strip_prefix(':') {
            Some(port_and_path) => {
                let end = port_and_path.find(['/', '?']).unwrap_or(port_and_path.len());
                let (port, path) = port_and_path.split_at(end);
                port.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
                port.parse::<u16>().ok()?;
                path
            }
            None => rest,
        };
        match path_and_query {
            "" => Some(Self { host, path_and_query: "/" }),
            path if path.starts_with(['/', '?']) => Some(Self { host, path_and_query: path }),
            _ => None,
        }
    }
}

/// The characters of RFC 3986 §2 without `#` and `*`.
pub(crate) fn is_uri_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()+,;=%".contains(&b)
}

/// RFC 3986 §3.1, in lower case.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn has_userinfo(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|rest| rest.split(['/', '?']).next().unwrap_or_default().contains('@'))
}

fn is_web_address(text: &str, rest: &str) -> bool {
    rest.starts_with("//")
        && !rest.starts_with("///")
        && Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b33_what_may_be_registered() {
        for good in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://app.example:8443/cb?x=1",
            "http://localhost/callback",
            "http://127.0.0.1:33418/",
            "http://127.0.0.1",
            "http://[::1]:9/cb",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "com.example.app:/cb",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
        use InvalidRedirectUri::*;
        for (bad, why) in [
            ("javascript:alert(1)", Scheme),
            ("JavaScript:alert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("vbscript:x", Scheme),
            ("about:blank", Scheme),
            ("blob:https://a.example/x", Scheme),
            ("https://*.example/cb", Character),
            ("https://a.example/cb#x", Fragment),
            ("https://a.example/cb#", Fragment),
            ("https://user@a.example/cb", Userinfo),
            ("https://a.example\\@b.example/", Character),
            ("cursor://x@y/cb", Userinfo),
            ("http://a.example/cb", InsecureHttp),
            ("http://localhost.evil.example/cb", InsecureHttp),
            ("http://127.0.0.1.evil.example/cb", InsecureHttp),
            ("http://localhost:80:80/cb", InsecureHttp),
            ("http://localhost:99999/cb", InsecureHttp),
            ("http://127.0.0.2/cb", InsecureHttp),
            ("https://a.example/\r\nX: y", Character),
            ("https://ä.example/", Character),
            ("https:///cb", NotAbsolute),
            ("https:a.example", NotAbsolute),
            ("/cb", NotAbsolute),
            ("cursor:", NotAbsolute),
            ("", NotAbsolute),
        ] {
            assert_eq!(RedirectUri::parse(bad).unwrap_err(), why, "{bad}");
        }
        assert_eq!(RedirectUri::parse(&format!("https://a.example/{}", "a".repeat(2048))), Err(TooLong));
    }

    #[test]
    fn b1_exact_but_for_a_loopback_port() {
        for (registered, requested, same) in [
            ("https://a.example/cb", "https://a.example/cb", true),
            ("https://a.example/cb", "https://a.example/cb/", false),
            ("https://a.example/cb", "https://a.example/cb?x=1", false),
            ("https://a.example/cb", "https://a.example:443/cb", false),
            ("https://a.example/cb", "https://a.example/CB", false),
            ("http://localhost/callback", "http://localhost:51234/callback", true),
            ("http://localhost:1/callback", "http://localhost/callback", true),
            ("http://localhost/callback", "http://localhost:51234/callback/", false),
            ("http://localhost/callback", "http://127.0.0.1:51234/callback", false),
            ("http://localhost/callback", "http://localhost:5@evil.example/callback", false),
            ("http://localhost/callback", "http://localhost:5/callback#x", false),
            ("http://localhost/callback", "https://localhost:5/callback", false),
            ("http://127.0.0.1:33418/", "http://127.0.0.1:40000", true),
            ("http://127.0.0.1:33418/", "http://127.0.0.1:40000/x", false),
            ("cursor://a/b", "cursor://a/b", true),
            ("cursor://a/b", "cursor://a:1/b", false),
        ] {
            assert_eq!(RedirectUri::parse(registered).unwrap().matches(requested), same, "{registered} {requested}");
        }
    }

    #[test]
    fn the_consent_page_can_say_where_it_goes() {
        for (uri, host, warns) in [
            ("https://claude.ai/api/mcp/auth_callback", "claude.ai", false),
            ("https://a.example:8443/cb", "a.example:8443", false),
            ("http://127.0.0.1:33418/", "127.0.0.1", true),
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp", true),
            ("com.example.app:/cb", "com.example.app:", true),
        ] {
            let uri = RedirectUri::parse(uri).unwrap();
            assert_eq!((uri.host_for_display().as_str(), uri.needs_warning().is_some()), (host, warns));
        }
    }

    #[test]
    fn web_applications_live_on_other_machines() {
        for (uri, host) in [
            ("https://claude.ai/api/mcp/auth_callback", Some("claude.ai")),
            ("https://a.example:8443/cb", Some("a.example:8443")),
            ("https://localhost/cb", None),
            ("https://x.localhost/cb", None),
            ("https://127.0.0.9/cb", None),
            ("https://[::1]/cb", None),
            ("https://[::ffff:127.0.0.1]/cb", None),
            ("http://127.0.0.1:33418/", None),
            ("cursor://anysphere.cursor-mcp/oauth/callback", None),
        ] {
            assert_eq!(RedirectUri::parse(uri).unwrap().web_host().as_deref(), host, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_accepted_fits_into_a_header(text in "\\PC{0,60}", other in "\\PC{0,60}") {
            if let Ok(uri) = RedirectUri::parse(&text) {
                prop_assert!(http::HeaderValue::from_str(uri.as_str()).is_ok());
                prop_assert!(uri.matches(&text));
                let _ = (uri.matches(&other), uri.host_for_display());
            }
        }
    }
}
