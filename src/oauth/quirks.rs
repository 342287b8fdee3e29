//! How an authorization server departs from the specifications. Nothing here is needed for one that follows them, which is
//! what [`Quirks::default`] describes.

use super::scope::{OFFLINE_ACCESS, Scopes};
use http::{HeaderName, HeaderValue};
use std::sync::LazyLock;
use std::time::Duration;

/// What one authorization server does otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Whether `resource` may be sent (RFC 8707).
    pub takes_resource: bool,
    /// Further parameters of the authorization request.
    pub authorize: Vec<(String, String)>,
    /// The parameter of the authorization request that carries the scopes.
    pub scope_parameter: String,
    /// Between scopes in requests, and in answers too.
    pub scope_separator: String,
    /// What else is between scopes in answers.
    pub granted_scope_separator: Option<String>,
    /// Whether all scopes that were asked for are granted whenever any are, whatever the answer calls them.
    pub all_or_nothing: bool,
    /// What a scope contains without saying so.
    pub implied_scopes: Vec<(String, Scopes)>,
    /// Whether a code challenge is sent (RFC 7636). Only a server that fails because of one is spared.
    pub pkce: bool,
    /// The member of the token response to look into.
    pub token_member: Option<String>,
    /// How long an access token lives that comes with a refresh token and without a word about it.
    pub token_life: Option<Duration>,
    /// Whether `token_type` must be `Bearer`.
    pub checks_token_type: bool,
    /// How a client registered by hand authenticates at the token endpoint; `None`: as the metadata says.
    pub auth_method: Option<String>,
    /// How the parameters of a token request are written.
    pub token_body: TokenBody,
    /// Further headers of requests to the token and revocation endpoints.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Error codes that mean what `invalid_grant` means.
    pub ended: Vec<String>,
    /// How an authorization is given back.
    pub revocation: Revocation,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            takes_resource: true,
            authorize: Vec::new(),
            scope_parameter: "scope".to_owned(),
            scope_separator: " ".to_owned(),
            granted_scope_separator: None,
            all_or_nothing: false,
            implied_scopes: Vec::new(),
            pkce: true,
            token_member: None,
            token_life: None,
            checks_token_type: true,
            auth_method: None,
            token_body: TokenBody::Form,
            headers: Vec::new(),
            ended: Vec::new(),
            revocation: Revocation::default(),
        }
    }
}

impl Quirks {
    /// Of a server that follows the specifications.
    pub fn plain() -> &'static Self {
        static PLAIN: LazyLock<Quirks> = LazyLock::new(Quirks::default);
        &PLAIN
    }

    /// The scopes of an answer, as RFC 6749 §3.3 has them.
    pub fn scopes_of(&self, answered: &str) -> Scopes {
        let mut text = answered.replace(&self.scope_separator, " ");
        if let Some(separator) = &self.granted_scope_separator {
            text = text.replace(separator, " ");
        }
        Scopes::lenient(text.split(' '))
    }

    /// Whether what was granted is enough for what is `wanted`. `offline_access` and `openid` are about the answer itself,
    /// and not every server lists them.
    pub fn covers(&self, granted: &Scopes, wanted: &Scopes) -> bool {
        let implied = self.implied_scopes.iter().filter(|(scope, _)| granted.contains(scope));
        let all = implied.fold(granted.clone(), |all, (_, contained)| all.union(contained));
        wanted.without(OFFLINE_ACCESS).without("openid").is_subset(&all)
    }

    /// Whether an error of the token endpoint means that the authorization is gone (RFC 6749 §5.2).
    pub fn is_the_end(&self, code: &str) -> bool {
        code == "invalid_grant" || self.ended.iter().any(|known| known == code)
    }
}

/// How the parameters of a token request are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenBody {
    /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
    #[default]
    Form,
    /// `application/json`: Notion, Atlassian.
    Json,
}

/// What a revocation request looks like. The client's authentication is that of the token endpoint, where nothing else is
/// said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// RFC 7009 §2.1: a form with `token` and `token_type_hint`.
    #[default]
    Rfc7009,
    /// The same parameters as JSON: Notion.
    Json,
    /// GitHub: `DELETE` with Basic authentication and `{"access_token": …}`; `{client_id}` in the address is filled in.
    GitHub,
    /// A form with `token` and nothing else, which ends the whole grant: Google.
    Token,
    /// The access token as Bearer, and nothing else: Slack, Dropbox.
    Bearer,
}

impl Revocation {
    /// From the configuration or a preset; `None` for an unknown form.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "rfc7009" => Some(Self::Rfc7009),
            "json" => Some(Self::Json),
            "github" => Some(Self::GitHub),
            "token" => Some(Self::Token),
            "bearer" => Some(Self::Bearer),
            _ => None,
        }
    }
}
