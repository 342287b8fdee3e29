//! Everything that is looked at, and the texts that explain it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

macro_rules! checks {
    ($($name:ident $id:literal $doc:literal,)*) => {
        /// One thing that is looked at. The order is that in which a connection meets them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Check {
            $(#[doc = $doc] #[serde(rename = $id)] $name,)*
        }

        impl Check {
            /// All of them, in order.
            pub const ALL: &[Check] = &[$(Check::$name),*];

            /// Its name in reports, rules and the documentation.
            pub fn id(self) -> &'static str {
                match self { $(Check::$name => $id,)* }
            }
        }
    };
}

checks! {
    DnsResolves "dns-resolves" "The name leads to an address.",
    DnsIpv4 "dns-ipv4" "One of the addresses is IPv4.",
    DnsPublic "dns-public" "All addresses are public.",
    DnsWildcard "dns-wildcard" "Any name below a gateway's domain leads to it.",
    SchemeHttps "scheme-https" "The address begins with https.",
    Port443 "port-443" "The port is 443.",
    Reachable "reachable" "The port is open.",
    ReachableIpv6 "reachable-ipv6" "IPv6 addresses work, if there are any.",
    TlsHandshake "tls-handshake" "There is TLS 1.2 or 1.3.",
    TlsName "tls-name" "The certificate is for this name.",
    TlsExpiry "tls-expiry" "The certificate is in force.",
    TlsChain "tls-chain" "The certificate leads to a known authority.",
    TlsProtocols "tls-protocols" "HTTP/2 is negotiated.",
    Clock "clock" "The server's clock agrees with ours.",
    Front "front" "Which proxies are in between.",
    FrontBody "front-body" "Bodies over a megabyte pass.",
    FrontBuffering "front-buffering" "Events pass as they come.",
    FrontBots "front-bots" "No bot protection answers the client.",
    ChallengeStatus "challenge-status" "Without a token the MCP endpoint answers 401.",
    ChallengeHeader "challenge-header" "The 401 has a Bearer challenge.",
    ChallengeOrigin "challenge-origin" "The challenge points to this origin.",
    ChallengePointer "challenge-pointer" "The challenge points to the path-inserted address.",
    ResourceMetadata "resource-metadata" "There is protected resource metadata.",
    ResourcePlace "resource-place" "It is at the path-inserted address.",
    ResourceCovers "resource-covers" "It is about this server.",
    ResourceExact "resource-exact" "It is about this very URL.",
    ResourceServers "resource-servers" "It names an authorization server.",
    ServerMetadata "server-metadata" "There is authorization server metadata.",
    ServerIssuer "server-issuer" "The issuer is the one that was asked.",
    ServerSameHost "server-same-host" "The authorization server is at the MCP server's own origin.",
    ServerEndpoints "server-endpoints" "The endpoints are named, with https.",
    ServerPkce "server-pkce" "PKCE with S256 is announced.",
    ServerAuthMethods "server-auth-methods" "The client can authenticate at the token endpoint.",
    ServerDocuments "server-documents" "Client ID metadata documents are taken.",
    ServerIss "server-iss" "The issuer comes with authorization responses.",
    ServerOffline "server-offline" "Refresh tokens are announced.",
    DiscoveryTime "discovery-time" "All of that is fast enough.",
    Registration "registration" "The client gets a client_id.",
    RegistrationTime "registration-time" "Registration is fast enough.",
    Authorize "authorize" "The browser meets a page.",
    Token "token" "The token endpoint speaks OAuth.",
    TokenCors "token-cors" "Browsers may read its answers.",
    TokenTime "token-time" "It is fast enough.",
    Refresh "refresh" "Refreshing is answered in OAuth, in time.",
}

impl Check {
    /// Whether it is about the ground that all clients share.
    pub fn is_common(self) -> bool {
        self <= Check::FrontBuffering
    }

    /// What it is called in tables, a few words.
    pub fn title(self) -> &'static str {
        &self.texts().title
    }

    pub(super) fn texts(self) -> &'static Texts {
        static NONE: LazyLock<Texts> = LazyLock::new(Texts::default);
        TEXTS.get(&self).unwrap_or(&NONE)
    }
}

/// How much a client depends on something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It does not connect without.
    #[default]
    Must,
    /// It connects, and something is worse.
    Should,
    /// It does not care.
    Off,
}

/// What is said about a check.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    pub(super) title: String,
    #[serde(default)]
    pub(super) level: Level,
    pub(super) why: String,
    pub(super) fix: String,
    #[serde(default)]
    pub(super) source: String,
    /// More fitting words for one way of failing.
    #[serde(default)]
    pub(super) causes: BTreeMap<String, Because>,
}

/// The words for one way of failing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    pub(super) why: String,
    pub(super) fix: String,
}

/// `checks.toml`.
pub(super) static TEXTS: LazyLock<BTreeMap<Check, Texts>> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // compiled in, and read by a test
    toml_edit::de::from_str(include_str!("checks.toml")).expect("checks.toml is what it should be")
});

/// What was found about one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be; what was seen.
    Holds(String),
    /// Not as it should be.
    Broken {
        /// A key of the check's `causes`; empty when one text does for all.
        cause: &'static str,
        /// What was seen.
        seen: String,
    },
    /// There was nothing to look at; why.
    Moot(String),
}

impl Verdict {
    pub(super) fn holds(seen: impl Into<String>) -> Self {
        Self::Holds(seen.into())
    }

    pub(super) fn broken(cause: &'static str, seen: impl Into<String>) -> Self {
        Self::Broken { cause, seen: seen.into() }
    }

    /// Holds if `good`, with the same words either way.
    pub(super) fn when(good: bool, seen: impl Into<String>) -> Self {
        if good { Self::holds(seen) } else { Self::broken("", seen) }
    }
}

/// A check and what came out.
pub(super) type Finding = (Check, Verdict);
