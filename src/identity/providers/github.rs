//! GitHub, as its documentation of OAuth apps and of the REST API says. The access token is used for a handful of questions
//! and thrown away.

use super::departure::Departure;
use super::exchange::{Authentication, Code, TokenEndpoint, get, trouble};
use super::{Profile, SignInError, Tools, email};
use crate::config::{Allowed, GITHUB, GitHubLogin};
use crate::error::Fault;
use crate::http::{Fetched, check_url};
use crate::oauth::pkce::Challenge;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

const LABEL: &str = "GitHub";
const MEDIA_TYPE: &str = "application/vnd.github+json";

/// GitHub, or a server of one's own.
pub(super) struct GitHub {
    settings: GitHubLogin,
}

/// `GET /user`. The login can be changed, and taken by somebody else afterwards; the id cannot.
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

/// An element of `GET /user/emails`.
#[derive(Deserialize)]
struct EmailAddress {
    email: String,
    primary: bool,
    verified: bool,
}

/// `GET /user/memberships/orgs/{org}`
#[derive(Deserialize)]
struct OrganizationMembership {
    state: String,
    organization: Organization,
}

#[derive(Deserialize)]
struct Organization {
    login: String,
}

/// What is known of a person and an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Active,
    /// Invited, and has not accepted yet.
    Pending,
    None,
    /// The organisation wants single sign-on first.
    SingleSignOn,
    /// The organisation does not let this app look.
    Hidden,
}

impl GitHub {
    pub(super) fn new(settings: GitHubLogin) -> Self {
        Self { settings }
    }

    /// Where the browser goes ("Request a user's GitHub identity").
    pub(super) fn authorization_address(
        &self,
        redirect_uri: &str,
        departure: &Departure,
        state: &str,
    ) -> Result<Url, Fault> {
        let address = format!("{}/login/oauth/authorize", self.settings.url);
        let mut url = check_url(&address, self.settings.allow_private)?;
        let scope = if self.settings.allowed_orgs.is_empty() { "user:email" } else { "user:email read:org" };
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", scope)
            .append_pair("state", state)
            .append_pair("code_challenge", Challenge::of(&departure.verifier).as_str())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who has a code, if the rules let that person in.
    pub(super) async fn profile(&self, tools: &Tools, code: &Code<'_>) -> Result<Profile, SignInError> {
        let endpoint = TokenEndpoint {
            label: LABEL,
            url: &format!("{}/login/oauth/access_token", self.settings.url),
            client_id: &self.settings.client_id,
            client_secret: Some(&self.settings.client_secret),
            authentication: Authentication::Post,
            allow_private: self.settings.allow_private,
        };
        let answer = endpoint.exchange(&tools.http, code).await?;
        let token = answer.get("access_token").and_then(|token| token.as_str()).filter(|token| !token.is_empty());
        let token = Zeroizing::new(token.ok_or_else(|| trouble(LABEL, "no access token"))?.to_owned());
        let user: User = match self.ask(tools, &token, "/user").await? {
            fetched if fetched.status == StatusCode::OK => parse(&fetched)?,
            fetched => return Err(unexpected("/user", &fetched).into()),
        };
        let memberships = self.memberships(tools, &token).await?;
        self.check_rules(&user, &memberships)?;
        let groups = memberships.into_iter().filter(|(_, membership)| *membership == Membership::Active);
        Ok(Profile {
            provider: GITHUB.to_owned(),
            issuer: self.settings.url.clone(),
            subject: user.id.to_string(),
            email: self.email(tools, &token).await?,
            groups: groups.map(|(organization, _)| organization.to_owned()).collect(),
            administrator: self.settings.admin_users.contains(&user.login.to_ascii_lowercase()),
            name: user.login,
        })
    }

    /// Whoever is in the list of people, or an active member of one of the organisations.
    fn check_rules(&self, user: &User, memberships: &[(&str, Membership)]) -> Result<(), SignInError> {
        let listed = match &self.settings.allowed_users {
            Allowed::Everybody => true,
            Allowed::These(logins) => logins.contains(&user.login.to_ascii_lowercase()),
        };
        let is = |wanted| memberships.iter().find(|(_, membership)| *membership == wanted).map(|(name, _)| *name);
        if listed || is(Membership::Active).is_some() {
            return Ok(());
        }
        let login = &user.login;
        let public = if let Some(name) = is(Membership::SingleSignOn) {
            format!(
                "The organisation {name} wants you to sign in to it at GitHub first. Do that, then sign in here again."
            )
        } else if let Some(name) = is(Membership::Pending) {
            format!(
                "You have not accepted the invitation of the organisation {name} at GitHub. Accept it, then sign in again."
            )
        } else if let Some(name) = is(Membership::Hidden) {
            format!(
                "The organisation {name} does not let this gateway see its members: one of its owners has to approve it."
            )
        } else {
            format!(
                "{login} may not use this gateway: ask an administrator to add you, or sign in with another account."
            )
        };
        Err(SignInError::Refused { public, private: format!("GitHub login {login}, id {}", user.id) })
    }

    /// Every organisation of the configuration, so that the groups are complete.
    async fn memberships(&self, tools: &Tools, token: &str) -> Result<Vec<(&str, Membership)>, SignInError> {
        let mut memberships = Vec::new();
        for organization in &self.settings.allowed_orgs {
            let path = format!("/user/memberships/orgs/{organization}");
            let fetched = self.ask(tools, token, &path).await?;
            let membership = match fetched.status {
                StatusCode::OK => membership(&parse(&fetched)?, organization),
                StatusCode::NOT_FOUND => Membership::None,
                StatusCode::FORBIDDEN if fetched.headers.contains_key("x-github-sso") => Membership::SingleSignOn,
                StatusCode::FORBIDDEN => Membership::Hidden,
                _ => return Err(unexpected(&path, &fetched).into()),
            };
            memberships.push((organization.as_str(), membership));
        }
        Ok(memberships)
    }

    /// The primary address, if it is verified. A GitHub App without the permission is told 403 or 404; then none is known.
    async fn email(&self, tools: &Tools, token: &str) -> Result<Option<String>, SignInError> {
        let fetched = self.ask(tools, token, "/user/emails").await?;
        let addresses: Vec<EmailAddress> = match fetched.status {
            StatusCode::OK => parse(&fetched)?,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Vec::new(),
            _ => return Err(unexpected("/user/emails", &fetched).into()),
        };
        let primary = addresses.into_iter().find(|address| address.primary && address.verified);
        Ok(primary.map(|address| address.email).filter(|address| email::domain_of(address).is_some()))
    }

    /// Asks the API; an answer that says that too much was asked is an error whatever was asked.
    async fn ask(&self, tools: &Tools, token: &str, path: &str) -> Result<Fetched, Fault> {
        let url = format!("{}{path}", self.settings.api_url);
        let fetched = get(&tools.http, &url, Some(token), MEDIA_TYPE, self.settings.allow_private).await?;
        if is_rate_limit(fetched.status, &fetched.headers) {
            let public = "GitHub has had too many requests of late. Please try again in a few minutes.";
            return Err(Fault::upstream(public, format_args!("GitHub: {path}: rate limit")));
        }
        Ok(fetched)
    }
}

/// "Rate limits for the REST API": 403 or 429, with nothing remaining or a time to wait.
fn is_rate_limit(status: StatusCode, headers: &HeaderMap) -> bool {
    let exhausted = headers.get("x-ratelimit-remaining").is_some_and(|value| value == "0");
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && (exhausted || headers.contains_key("retry-after")))
}

fn membership(found: &OrganizationMembership, asked: &str) -> Membership {
    match found.state.as_str() {
        _ if !found.organization.login.eq_ignore_ascii_case(asked) => Membership::None,
        "active" => Membership::Active,
        "pending" => Membership::Pending,
        _ => Membership::None,
    }
}

fn parse<T: DeserializeOwned>(fetched: &Fetched) -> Result<T, Fault> {
    serde_json::from_slice(&fetched.body)
        .map_err(|error| trouble(LABEL, format_args!("not what was expected: {error}")))
}

fn unexpected(path: &str, fetched: &Fetched) -> Fault {
    trouble(LABEL, format_args!("{path}: {}", fetched.status))
}
