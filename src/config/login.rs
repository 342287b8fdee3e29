//! `[login.github]` and `[[login.oidc]]`: who may sign in elsewhere, and who of them administers the gateway. Nobody is let
//! in by a rule that is not written down: everybody is `"*"`.

use super::Login;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::upstream::{endpoint, printable, scopes};
use crate::oauth::scope::Scopes;
use crate::secret::Secret;
use std::collections::BTreeSet;

/// The name of GitHub in addresses, in the audit log and as a source of groups.
pub const GITHUB: &str = "github";
/// What a list holds to mean everybody.
const EVERYBODY: &str = "*";
/// Names that mean something else in addresses below `/login` or in the audit log.
const RESERVED: [&str; 6] = [GITHUB, "password", "passkey", "passkeys", "totp", "recovery"];
/// Every organisation costs a request at every sign-in.
const MOST_ORGANISATIONS: usize = 20;

/// Who a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody that the provider knows.
    Everybody,
    /// Those in the list, in lower case where case does not matter; nobody when it is empty.
    These(Vec<String>),
}

/// `[login.github]`
#[derive(Clone)]
pub struct GitHubLogin {
    /// Of the OAuth app or GitHub App.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// Logins, in lower case. Whoever is here or in one of the organisations may sign in.
    pub allowed_users: Allowed,
    /// Organisations, in lower case: their active members may sign in.
    pub allowed_orgs: Vec<String>,
    /// Logins, in lower case: they become administrators.
    pub admin_users: Vec<String>,
    /// Where people are; without a slash at the end.
    pub url: String,
    /// Where the API is; without a slash at the end.
    pub api_url: String,
    /// Whether it may be on this machine or in a private network.
    pub allow_private: bool,
}

/// `[[login.oidc]]`
#[derive(Clone)]
pub struct OidcLogin {
    /// In addresses, in the audit log and as a source of groups: `[a-z0-9-]`, no name twice.
    pub name: String,
    /// On the button.
    pub label: String,
    /// The issuer exactly as the provider spells it (OpenID Connect Discovery §4.3).
    pub issuer: String,
    /// Of the client that was registered there.
    pub client_id: String,
    /// Its secret; `None`: a public client, which has PKCE alone.
    pub client_secret: Option<Secret>,
    /// What is asked for, space-separated; `openid` is among it.
    pub scopes: String,
    /// Domains of verified e-mail addresses, in lower case. Together with `allowed_groups` both must fit.
    pub allowed_domains: Option<Allowed>,
    /// One of these groups is needed, where there is a list.
    pub allowed_groups: Option<Vec<String>>,
    /// Members of one of these groups become administrators.
    pub admin_groups: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Whether identity assertions of this issuer (ID-JAG) are accepted at the token endpoint.
    pub id_jag: bool,
    /// Whether it may be on this machine or in a private network.
    pub allow_private: bool,
}

/// `[login.github]`; `None` when it is not there, or is not complete.
pub(super) fn github(mut reader: Reader<'_>, allow_private: bool, directories: &Directories) -> Option<GitHubLogin> {
    let place = reader.place.clone();
    let client_id = required(&mut reader, "client_id", printable);
    let secret = ("client_secret", "client_secret_file");
    let given = reader.has(secret.0) || reader.has(secret.1);
    let secret = secrets::take(&mut reader, secret, "login.github.client_secret", directories);
    if secret.is_none() && !given {
        let why = "is missing: give the secret that GitHub made for the app, or client_secret_file";
        reader.error(&place, "client_secret", why);
    }
    if !reader.has_some("allowed_users") && !reader.has_some("allowed_orgs") {
        let why = "is missing, and so is allowed_orgs: name who may sign in, or write allowed_users = [\"*\"] to let in \
                   everybody who has an account at GitHub";
        reader.error(&place, "allowed_users", why);
    }
    let mut logins = |key| reader.list(key, login_name);
    let (users, orgs, admins) = (logins("allowed_users"), logins("allowed_orgs"), logins("admin_users"));
    no_wildcard(&reader, "allowed_orgs", orgs.as_ref(), "to let in everybody, write allowed_users = [\"*\"]");
    no_wildcard(&reader, "admin_users", admins.as_ref(), "it would make everybody an administrator: name people");
    if let Some(found) = orgs.as_ref().filter(|found| found.value.len() > MOST_ORGANISATIONS) {
        reader.error(
            &found.place,
            "allowed_orgs",
            format!("must not name more than {MOST_ORGANISATIONS} organisations"),
        );
    }
    let url = reader.parsed("url", base).map_or_else(|| "https://github.com".to_owned(), |found| found.value);
    let api_url = reader.parsed("api_url", base).map_or_else(|| api_of(&url), |found| found.value);
    let allow_private = reader.flag("allow_private").unwrap_or(allow_private);
    reader.finish();
    let names = |found: Option<Found<Vec<String>>>| found.map(|found| found.value).unwrap_or_default();
    Some(GitHubLogin {
        client_id: client_id?,
        client_secret: secret?.value,
        allowed_users: allowed(names(users)),
        allowed_orgs: names(orgs),
        admin_users: names(admins),
        url,
        api_url,
        allow_private,
    })
}

/// Every `[[login.oidc]]`, no name twice.
pub(super) fn oidc(readers: Vec<Reader<'_>>, allow_private: bool, directories: &Directories) -> Vec<OidcLogin> {
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for reader in readers {
        let (errors, place, key) = (reader.errors, reader.place.clone(), reader.name("name"));
        let Some(provider) = one_oidc(reader, allow_private, directories) else { continue };
        if !names.insert(provider.name.clone()) {
            let why = format!("{:?} is the name of another provider already: choose another", provider.name);
            errors.add(&place, &key, why);
        }
        all.push(provider);
    }
    all
}

fn one_oidc(mut reader: Reader<'_>, allow_private: bool, directories: &Directories) -> Option<OidcLogin> {
    let place = reader.place.clone();
    let name = required(&mut reader, "name", provider_name);
    let label = reader.parsed("label", printable).map(|found| found.value);
    let issuer = required(&mut reader, "issuer", issuer);
    let client_id = required(&mut reader, "client_id", printable);
    let credential = format!("login.{}.client_secret", name.as_deref().unwrap_or_default());
    let secret = secrets::take(&mut reader, ("client_secret", "client_secret_file"), &credential, directories);
    let scopes = asked_scopes(&mut reader);
    if !reader.has_some("allowed_domains") && !reader.has_some("allowed_groups") {
        let why = "is missing, and so is allowed_groups: say who may sign in, or write allowed_domains = [\"*\"] to let in \
                   everybody whom this provider knows";
        reader.error(&place, "allowed_domains", why);
    }
    let domains = reader.list("allowed_domains", domain);
    let mut groups = |key| reader.list(key, printable);
    let (allowed_groups, admin_groups) = (groups("allowed_groups"), groups("admin_groups"));
    let everybody = "to let in everybody, write allowed_domains = [\"*\"]";
    no_wildcard(&reader, "allowed_groups", allowed_groups.as_ref(), everybody);
    no_wildcard(
        &reader,
        "admin_groups",
        admin_groups.as_ref(),
        "it would make everybody an administrator: name groups",
    );
    let groups_claim = reader.parsed("groups_claim", printable).map(|found| found.value);
    let id_jag = reader.flag("id_jag").unwrap_or(false);
    let allow_private = reader.flag("allow_private").unwrap_or(allow_private);
    reader.finish();
    let name = name?;
    Some(OidcLogin {
        label: label.unwrap_or_else(|| name.clone()),
        name,
        issuer: issuer?,
        client_id: client_id?,
        client_secret: secret.map(|found| found.value),
        scopes,
        allowed_domains: domains.map(|found| found.value).filter(|list| !list.is_empty()).map(allowed),
        allowed_groups: allowed_groups.map(|found| found.value).filter(|list| !list.is_empty()),
        admin_groups: admin_groups.map(|found| found.value).unwrap_or_default(),
        groups_claim: groups_claim.unwrap_or_else(|| "groups".to_owned()),
        id_jag,
        allow_private,
    })
}

/// Refuses to switch passwords off when nobody could get in any more.
pub(super) fn must_have_a_way_in(reader: &Reader<'_>, password: &Found<bool>, providers: usize, local: bool) {
    if password.value {
        return;
    }
    if providers == 0 {
        let why = "leaves no way to sign in: configure [login.github] or [[login.oidc]], or remove password = false";
        reader.error(&password.place, "password", why);
    }
    if local {
        let why = "makes LOCAL_USER and LOCAL_PASSWORD useless: remove the two variables, or password = false";
        reader.error(&password.place, "password", why);
    }
}

fn required<T>(reader: &mut Reader<'_>, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    if !reader.has(key) {
        let place = reader.place.clone();
        reader.error(&place, key, "is missing: docs/sign-in.md says where it comes from");
    }
    reader.parsed(key, parse).map(|found| found.value)
}

fn no_wildcard(reader: &Reader<'_>, key: &str, list: Option<&Found<Vec<String>>>, why: &str) {
    if let Some(Found { place, .. }) = list.filter(|list| list.value.iter().any(|entry| entry == EVERYBODY)) {
        reader.error(place, key, format!("must not have \"*\": {why}"));
    }
}

fn allowed(list: Vec<String>) -> Allowed {
    if list.iter().any(|entry| entry == EVERYBODY) { Allowed::Everybody } else { Allowed::These(list) }
}

/// `openid` is what makes it OpenID Connect (Core §3.1.2.1).
fn asked_scopes(reader: &mut Reader<'_>) -> String {
    let mut asked = scopes(reader).unwrap_or_else(|| "openid profile email".to_owned());
    if !Scopes::lenient(asked.split(' ')).contains("openid") {
        asked.insert_str(0, "openid ");
    }
    asked
}

fn provider_name(text: &str) -> Result<String, String> {
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-');
    if RESERVED.contains(&text) {
        return Err(format!("{text:?} has a meaning of its own here: choose another name, like \"company\""));
    }
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not a name: use up to 32 characters of a-z, 0-9 and hyphens"))
}

/// A login or an organisation of GitHub; both are the same in upper and lower case. Managed users have an underscore.
fn login_name(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let good =
        (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if good || text == EVERYBODY {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is not a login of GitHub: write it as in github.com/<login>"))
}

/// A domain of e-mail addresses, in the form in which addresses have it.
fn domain(text: &str) -> Result<String, String> {
    if text == EVERYBODY {
        return Ok(text.to_owned());
    }
    let ascii = idna::domain_to_ascii_strict(text).unwrap_or_default();
    if ascii.contains('.') && !ascii.starts_with('.') && !ascii.ends_with('.') {
        return Ok(ascii);
    }
    Err(format!("{text:?} is not a domain: write what stands behind the @, like \"example.com\", or \"*\""))
}

fn issuer(text: &str) -> Result<String, String> {
    let text = endpoint(text)?;
    if text.contains('?') {
        return Err("must have no query: write the issuer as the provider's own configuration spells it".to_owned());
    }
    if text.contains("/.well-known/") {
        return Err("is the address of a document: write the issuer alone, without /.well-known/…".to_owned());
    }
    Ok(text)
}

/// A URL that paths are appended to.
fn base(text: &str) -> Result<String, String> {
    let text = endpoint(text)?;
    if text.contains('?') {
        return Err("must have no query".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Where the API of a GitHub is, when nobody says so: github.com and ghe.com have a host for it, servers a path.
fn api_of(url: &str) -> String {
    match url.strip_prefix("https://") {
        Some(host) if host == "github.com" || host.ends_with(".ghe.com") => format!("https://api.{host}"),
        _ => format!("{url}/api/v3"),
    }
}

impl Login {
    /// The names of all providers, in the order of their buttons.
    pub fn provider_names(&self) -> Vec<&str> {
        let github = self.github.iter().map(|_| GITHUB);
        github.chain(self.oidc.iter().map(|provider| provider.name.as_str())).collect()
    }
}

impl GitHubLogin {
    /// Whether everything is the same, the secret included.
    fn is_same(&self, other: &Self) -> bool {
        let Self { client_id, client_secret, allowed_users, allowed_orgs, admin_users, url, api_url, allow_private } =
            self;
        *client_id == other.client_id
            && client_secret.matches(other.client_secret.expose())
            && *allowed_users == other.allowed_users
            && *allowed_orgs == other.allowed_orgs
            && *admin_users == other.admin_users
            && (url, api_url) == (&other.url, &other.api_url)
            && *allow_private == other.allow_private
    }
}

impl OidcLogin {
    /// Whether everything is the same, the secret included.
    fn is_same(&self, other: &Self) -> bool {
        let told = |one: &Self| {
            (
                (one.name.clone(), one.label.clone(), one.issuer.clone(), one.client_id.clone(), one.scopes.clone()),
                (one.allowed_domains.clone(), one.allowed_groups.clone(), one.admin_groups.clone()),
                (one.groups_claim.clone(), one.id_jag, one.allow_private),
            )
        };
        let secrets = (self.client_secret.as_ref(), other.client_secret.as_ref());
        told(self) == told(other) && super::change::same(secrets.0, secrets.1)
    }
}

/// Whether two lists of providers are the same, secrets included.
pub(super) fn same_providers(one: &Login, other: &Login) -> bool {
    let github = match (&one.github, &other.github) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    github
        && one.oidc.len() == other.oidc.len()
        && one.oidc.iter().zip(&other.oidc).all(|(one, other)| one.is_same(other))
}
