//! Grant types (RFC 6749 §1.3 and its extensions), and the set that a client may use (RFC 7591 §2, `grant_types`).

/// How a client asks the token endpoint for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// A code from a person's browser (OAuth 2.1 §4.1).
    AuthorizationCode,
    /// A refresh token (RFC 6749 §6).
    RefreshToken,
    /// A device code that a person approved elsewhere (RFC 8628 §3.4).
    DeviceCode,
    /// The client's own credentials (RFC 6749 §4.4).
    ClientCredentials,
    /// Somebody's token (RFC 8693 §2.1).
    TokenExchange,
    /// An assertion of another issuer about a person (RFC 7523 §2.1).
    JwtBearer,
}

impl GrantType {
    /// Every one, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::DeviceCode,
        Self::ClientCredentials,
        Self::TokenExchange,
        Self::JwtBearer,
    ];

    /// The registered name, the value of `grant_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// The type of that name; `None` for one that we do not know.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// Whether it is for machine clients, which only an administrator makes: nobody consents to what they do.
    pub fn is_for_machines(self) -> bool {
        matches!(self, Self::ClientCredentials | Self::TokenExchange | Self::JwtBearer)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of grant types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantTypes(u8);

impl GrantTypes {
    /// Whether it has this one.
    pub fn contains(self, one: GrantType) -> bool {
        self.0 & one.bit() != 0
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`GrantType::ALL`].
    pub fn iter(self) -> impl Iterator<Item = GrantType> {
        GrantType::ALL.into_iter().filter(move |one| self.contains(*one))
    }
}

impl FromIterator<GrantType> for GrantTypes {
    fn from_iter<T: IntoIterator<Item = GrantType>>(types: T) -> Self {
        Self(types.into_iter().fold(0, |set, one| set | one.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_and_a_place_in_the_set() {
        for one in GrantType::ALL {
            assert_eq!(GrantType::parse(one.as_str()), Some(one));
            let alone = GrantTypes::from_iter([one]);
            assert_eq!(alone.iter().collect::<Vec<_>>(), [one]);
        }
        let all: GrantTypes = GrantType::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), GrantType::ALL.len());
        assert!(GrantTypes::default().is_empty() && GrantType::parse("password").is_none());
    }
}
