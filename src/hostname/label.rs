//! The first DNS label of an MCP hostname, and the base32 codec behind it.

use super::authority::{Authority, InvalidAuthority};
use data_encoding::{Encoding, Specification};
use std::fmt;
use std::sync::LazyLock;

/// What marks a label as encoded.
const SUFFIX: &str = "-enc";
/// What stands between an account and the rest of the label.
const ACCOUNT_SEPARATOR: &str = "--";
/// A DNS label has at most 63 octets (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The longest authority that fits into a label together with `-enc`, in bytes: 36 bytes are 58 characters of base32.
pub const MAX_ENCODED_AUTHORITY: usize = 36;

/// Base32 of RFC 4648 §6 in lower case without padding. Decoding takes any letter case and refuses impossible lengths
/// and non-zero trailing bits.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.translate.from.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    specification.translate.to.push_str("abcdefghijklmnopqrstuvwxyz");
    #[allow(clippy::expect_used)] // a constant specification
    specification.encoding().expect("the specification of base32 is valid")
});

/// What a hostname begins with that is written in another alphabet (RFC 5890 §2.3.2.1): behind it browsers and URL libraries
/// expect an encoding that a label of ours is not, and refuse the name.
const OTHER_ALPHABETS: &str = "xn";

/// Which of a person's accounts at an upstream: 1 to 16 lower-case letters and digits, and not `xn`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(Box<str>);

impl Account {
    /// Parses an account's name.
    ///
    /// # Errors
    /// When it is empty, longer than 16 characters, has other characters than `a-z0-9`, or is `xn`.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let good = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if good && text != OTHER_ALPHABETS { Ok(Self(text.into())) } else { Err(InvalidLabel::Account) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a label stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The authority itself, in base32.
    Encoded(Authority),
    /// A readable name that the configuration or an administrator gave to an upstream.
    Alias(Box<str>),
}

/// The first DNS label of an MCP hostname, checked; [`fmt::Display`] gives its canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Which account of the person, when the label says so.
    pub account: Option<Account>,
    /// Which upstream.
    pub target: Target,
}

/// Why a text is not a label of ours, or a domain has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// Over 63 octets.
    #[error("a DNS label has at most 63 characters")]
    TooLong,
    /// Over [`MAX_ENCODED_AUTHORITY`] bytes.
    #[error(
        "the domain is longer than 36 characters and does not fit into one DNS label: \
         give the upstream an alias instead ([[upstream]] alias = \"…\")"
    )]
    NeedsAlias,
    /// Not base32, an impossible length, or trailing bits that are not zero.
    #[error("the part before \"-enc\" is not canonical base32 (RFC 4648, lower case, no padding)")]
    Base32,
    /// The decoded text is not an authority.
    #[error("the encoded text is not the domain of an upstream: {0}")]
    Authority(#[from] InvalidAuthority),
    /// Not 1 to 16 characters of `a-z0-9`, or `xn`.
    #[error(
        "an account has 1 to 16 characters of a-z and 0-9, and is not xn, with which names in other alphabets begin"
    )]
    Account,
    /// Not a name that can be a DNS label, or one that could be mistaken for an encoded label.
    #[error("an alias has letters a-z, digits and single hyphens, and does not end with \"-enc\"")]
    Alias,
}

impl Label {
    /// The label of an authority.
    ///
    /// # Errors
    /// [`InvalidLabel::NeedsAlias`] when it does not fit into 63 octets, [`InvalidAuthority::Program`] for a program.
    pub fn encode(authority: &Authority) -> Result<Self, InvalidLabel> {
        Self { account: None, target: Target::Encoded(authority.clone().of_network()?) }.fitting()
    }

    /// The same upstream with another account.
    ///
    /// # Errors
    /// When the longer label does not fit into 63 octets.
    pub fn with_account(self, account: Option<Account>) -> Result<Self, InvalidLabel> {
        Self { account, ..self }.fitting()
    }

    /// Parses a label in any letter case.
    ///
    /// # Errors
    /// When it is neither an encoded authority nor an alias; nothing is looked up.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        if text.len() > MAX_LABEL {
            return Err(InvalidLabel::TooLong);
        }
        let text = text.to_ascii_lowercase();
        let (account, rest) = match text.split_once(ACCOUNT_SEPARATOR) {
            Some((account, rest)) => (Some(Account::parse(account)?), rest),
            None => (None, text.as_str()),
        };
        let target = match rest.strip_suffix(SUFFIX) {
            Some(encoded) => Target::Encoded(decode(encoded)?),
            None => Target::Alias(check_alias(rest)?),
        };
        Ok(Self { account, target })
    }

    fn fitting(self) -> Result<Self, InvalidLabel> {
        if self.to_string().len() <= MAX_LABEL { Ok(self) } else { Err(InvalidLabel::NeedsAlias) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = &self.account {
            write!(f, "{}{ACCOUNT_SEPARATOR}", account.as_str())?;
        }
        match &self.target {
            Target::Encoded(authority) => write!(f, "{}{SUFFIX}", BASE32.encode(authority.as_str().as_bytes())),
            Target::Alias(alias) => f.write_str(alias),
        }
    }
}

/// Checks a readable name: a DNS label that cannot be mistaken for an encoded one or for one with an account.
fn check_alias(text: &str) -> Result<Box<str>, InvalidLabel> {
    let characters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let hyphens = text.starts_with('-') || text.ends_with('-') || text.contains(ACCOUNT_SEPARATOR);
    if text.is_empty() || !characters || hyphens || text.ends_with(SUFFIX) {
        return Err(InvalidLabel::Alias);
    }
    Ok(text.into())
}

fn decode(encoded: &str) -> Result<Authority, InvalidLabel> {
    // On the stack: this runs for every request whose label is not in the route cache yet, also for garbage.
    let mut buffer = [0; MAX_LABEL];
    let length = BASE32.decode_len(encoded.len()).map_err(|_| InvalidLabel::Base32)?;
    let length = BASE32.decode_mut(encoded.as_bytes(), &mut buffer[..length]).map_err(|_| InvalidLabel::Base32)?;
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| InvalidLabel::Base32)?;
    Ok(Authority::parse(text)?.of_network()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ATLASSIAN: &str = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";

    fn label_of(domain: &str) -> Label {
        Label::encode(&Authority::parse(domain).unwrap()).unwrap()
    }

    #[test]
    fn programs_have_no_encoded_label() {
        let program = Authority::of_program("time").unwrap();
        let refused = Err(InvalidLabel::Authority(InvalidAuthority::Program));
        assert_eq!(Label::encode(&program), refused);
        let by_hand = Label { account: None, target: Target::Encoded(program) }.to_string();
        assert_eq!(Label::parse(&by_hand), refused, "{by_hand}");
    }

    #[test]
    fn the_example_of_the_contract() {
        assert_eq!(label_of("mcp.atlassian.com").to_string(), ATLASSIAN);
        assert_eq!(Label::parse(ATLASSIAN), Ok(label_of("mcp.atlassian.com")));
        assert_eq!(Label::parse(&ATLASSIAN.to_ascii_uppercase()), Ok(label_of("mcp.atlassian.com")));
    }

    #[test]
    fn accounts_and_aliases() {
        let work = Label::parse(&format!("work--{ATLASSIAN}")).unwrap();
        assert_eq!(work.account, Some(Account::parse("work").unwrap()));
        assert_eq!(work.to_string(), format!("work--{ATLASSIAN}"));
        assert_eq!(Label::parse("home--jira").unwrap().target, Target::Alias("jira".into()));
        for (text, why) in [
            ("-jira", InvalidLabel::Alias),
            ("jira-", InvalidLabel::Alias),
            ("", InvalidLabel::Alias),
            ("--jira", InvalidLabel::Account),
            ("seventeenletters1--jira", InvalidLabel::Account),
            // Browsers would look for Unicode in it (RFC 5890 §2.3.2.1).
            ("xn--jira", InvalidLabel::Account),
            ("XN--jira", InvalidLabel::Account),
            ("a--b--c", InvalidLabel::Alias),
        ] {
            assert_eq!(Label::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn only_canonical_base32_is_taken() {
        for text in ["-enc", "1-enc", "a-enc", "abc-enc", "nvrxaltborwgc43tnfqw4ltdn5wr-enc", "nvrx=-enc", "99-enc"] {
            assert!(Label::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn thirty_six_bytes_fit_and_no_more() {
        let fits = "a".repeat(32) + ".com";
        assert_eq!(label_of(&fits).to_string().len(), 58 + 4);
        let long = Authority::parse(&("a".repeat(33) + ".com")).unwrap();
        assert_eq!(Label::encode(&long), Err(InvalidLabel::NeedsAlias));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(domain in "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,8}){0,2}(:[1-9][0-9]{0,2})?") {
            prop_assume!(!domain.ends_with(":443"));
            let label = label_of(&domain);
            prop_assert_eq!(Label::parse(&label.to_string()), Ok(label));
        }

        #[test]
        fn no_two_labels_reach_one_upstream(text in "[a-zA-Z2-7]{0,59}-enc") {
            if let Ok(label) = Label::parse(&text) {
                prop_assert_eq!(label.to_string(), text.to_ascii_lowercase());
            }
        }

        #[test]
        fn anything_may_be_asked(text in any::<String>()) {
            let _ = Label::parse(&text);
            let _ = Authority::from_input(&text);
        }
    }
}
