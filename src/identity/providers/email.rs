//! E-mail addresses that something is decided by. They are read strictly (security case A 22): whatever two programs could
//! understand differently is no address.

/// The longest address (RFC 5321 §4.5.3.1.3, without the angle brackets), and the longest part before the @.
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;

/// The domain of an address in lower case. `None` unless it is a dot-atom, one `@` and a domain name, all in ASCII
/// (RFC 5321 §4.1.2, without quoted strings and address literals).
pub(super) fn domain_of(address: &str) -> Option<String> {
    let (local, domain) = address.split_once('@')?;
    let good = address.len() <= LONGEST && is_dot_atom(local) && is_domain(domain);
    good.then(|| domain.to_ascii_lowercase())
}

fn is_dot_atom(local: &str) -> bool {
    let atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= LONGEST_LOCAL && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext))
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_only_what_cannot_be_misread_is_an_address() {
        for (address, domain) in [
            ("ada@corp.com", "corp.com"),
            ("Ada.L+x@Mail.CORP.com", "mail.corp.com"),
            ("o'brien@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(domain_of(address).as_deref(), Some(domain), "{address}");
        }
        for bad in [
            "",
            "ada",
            "@corp.com",
            "ada@",
            "ada@localhost",
            "a@evil@corp.com",
            "a@evil.com@corp.com",
            "\"a@evil.com\"@corp.com",
            "a@corp.com ",
            " a@corp.com",
            "a@corp.com\n",
            "a@corp.com\0",
            "a b@corp.com",
            "a..b@corp.com",
            ".a@corp.com",
            "a@.corp.com",
            "a@corp.com.",
            "a@corp..com",
            "a@[127.0.0.1]",
            "a@corp.com,b@evil.com",
            "a@corp.com>",
            "<a@corp.com>",
            "a@corp.com(evil)",
            "a@\u{ff43}orp.com",
            "a\u{200b}@corp.com",
            "a@b\u{fc}cher.example",
        ] {
            assert_eq!(domain_of(bad), None, "{bad:?}");
        }
        assert_eq!(domain_of(&format!("{}@corp.com", "a".repeat(65))), None);
    }
}
